// Asking the server to do something, and what it said: one thing at a time.
import { act, ApiError } from '../api/client';

export interface Asked {
  said: string;
  isBusy: boolean;
}

/** `ask` carries out an action and gives its answer, or null after saying why there is none. */
export function asker() {
  const asked = $state<Asked>({ said: '', isBusy: false });
  async function ask(path: string, what: string, body?: unknown): Promise<unknown> {
    asked.isBusy = true;
    try {
      const answer = await act(path, body);
      asked.said = what;
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      asked.said = [error.problem.title, error.problem.hint].filter(Boolean).join('. ');
      return null;
    } finally {
      asked.isBusy = false;
    }
  }
  return { ask, asked };
}
