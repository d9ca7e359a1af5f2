// What all pages share: the address, the clock, the theme, the project and its health.
import {
  ask,
  client,
  onUnauthorized,
  readHealth,
  ApiError,
  type Dashboard,
  type Health,
  type Problem,
  type Project,
} from './api/client';
import { onRefused } from './live/live.svelte';
import { formatRoute, parseRoute, type Page, type Route } from './logic/route';

export type Theme = 'paper' | 'terminal';

const HEALTH_INTERVAL_MS = 5_000;
const RETRY_INTERVAL_MS = 3_000;

class App {
  route = $state.raw<Route>(parseRoute(location.pathname, location.search));
  project = $state.raw<Project | null>(null);
  dashboards = $state.raw<Dashboard[] | null>(null);
  health = $state.raw<Health | null>(null);
  /** Why there is no project yet. */
  problem = $state.raw<Problem | null>(null);
  isLoggedOut = $state(false);
  theme = $state<Theme>('paper');
  /** The server's clock, ms since 1970, each second. */
  now = $state(Date.now());
  private ahead = 0;

  get timezone(): string {
    return this.project?.timezone ?? 'UTC';
  }

  start(): () => void {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const chosen = document.documentElement.dataset.theme;
    this.theme =
      chosen === 'paper' || chosen === 'terminal' ? chosen : dark.matches ? 'terminal' : 'paper';
    const follow = () => {
      if (!document.documentElement.dataset.theme) this.theme = dark.matches ? 'terminal' : 'paper';
    };
    dark.addEventListener('change', follow);
    const move = () => (this.route = parseRoute(location.pathname, location.search));
    addEventListener('popstate', move);
    onUnauthorized(() => (this.isLoggedOut = true));
    onRefused(() => void this.readHealth());
    const clock = setInterval(() => (this.now = this.serverTime()), 1_000);
    const health = setInterval(() => void this.readHealth(), HEALTH_INTERVAL_MS);
    void this.load();
    return () => {
      clearInterval(clock);
      clearInterval(health);
      removeEventListener('popstate', move);
      dark.removeEventListener('change', follow);
    };
  }

  /** What the server's clock shows when the browser's shows `ms`: now, if nothing else is said. */
  serverTime(ms = Date.now()): number {
    return ms + this.ahead;
  }

  /** Goes to an address of ours. */
  go(href: string, how: 'push' | 'replace' = 'push'): void {
    if (how === 'push') history.pushState(null, '', href);
    else history.replaceState(null, '', href);
    this.route = parseRoute(location.pathname, location.search);
  }

  setQuery(page: Page, name: string | null, query: Record<string, string>): void {
    this.go(formatRoute(page, name, query));
  }

  toggleTheme(): void {
    this.theme = this.theme === 'paper' ? 'terminal' : 'paper';
    document.documentElement.dataset.theme = this.theme;
    try {
      localStorage.setItem('thalweg.theme', this.theme);
    } catch {
      // Storage is forbidden: the choice lasts as long as the page.
    }
  }

  private async load(): Promise<void> {
    try {
      [this.project, this.dashboards] = await Promise.all([
        ask<Project>(client.GET('/api/v1/project')),
        ask<Dashboard[]>(client.GET('/api/v1/dashboards')),
      ]);
      this.ahead = Date.parse(this.project.now) - Date.now();
      // Clocks of one machine differ by nothing; only a clock that was set is another.
      if (Math.abs(this.ahead) < 1_000) this.ahead = 0;
      this.now = this.serverTime();
      this.problem = null;
      await this.readHealth();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.problem = error.problem;
      if (error.problem.status !== 401) setTimeout(() => void this.load(), RETRY_INTERVAL_MS);
    }
  }

  private async readHealth(): Promise<void> {
    if (document.hidden && this.health) return;
    try {
      this.health = await readHealth();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.problem.status === 401) return;
      const { title, hint } = error.problem;
      this.health = {
        ready: false,
        sentence: 'The server does not answer.',
        problems: [{ part: 'server', message: title, ...(hint ? { hint } : {}) }],
      };
    }
  }
}

export const app = new App();
