import { describe, expect, it } from 'vitest';
import {
  Rates,
  accountOf,
  counterOf,
  fields,
  flowOf,
  identitiesOf,
  nodeId,
  partsOf,
  pressure,
} from './flow';
import { NODE_HEIGHT, NODE_WIDTH, layout } from './layout';

const edge = (upstream_kind: string, upstream: string, downstream_kind: string, downstream: string) => ({
  upstream_kind,
  upstream,
  downstream_kind,
  downstream,
});

describe('the flow', () => {
  const edges = [
    edge('source', 'trades', 'stream', 'changes'),
    edge('stream', 'changes', 'sink', 'changes'),
    edge('source', 'trades', 'table', 'history'),
  ];

  it('has every part once, also those that nothing flows to', () => {
    const parts = partsOf('view', [{ name: 'alone' }, { name: null }]);
    const flow = flowOf(edges, parts);
    expect(flow.nodes.map((node) => node.id).sort()).toEqual([
      'sink changes',
      'source trades',
      'stream changes',
      'table history',
      'view alone',
    ]);
    expect(flow.edges).toHaveLength(3);
  });

  it('is laid out from left to right without overlap', () => {
    const { nodes, edges: paths, width, height } = layout(flowOf(edges, []));
    const at = new Map(nodes.map((node) => [node.id, node]));
    for (const { from, to } of paths) {
      expect(at.get(from)!.x + NODE_WIDTH).toBeLessThan(at.get(to)!.x);
    }
    for (const a of nodes) {
      expect(a.x).toBeGreaterThanOrEqual(0);
      expect(a.x + NODE_WIDTH).toBeLessThan(width);
      expect(a.y + NODE_HEIGHT).toBeLessThan(height);
      for (const b of nodes) {
        if (a === b) continue;
        expect(Math.abs(a.x - b.x) >= NODE_WIDTH || Math.abs(a.y - b.y) >= NODE_HEIGHT).toBe(true);
      }
    }
  });

  it('of nothing is empty', () => expect(layout({ nodes: [], edges: [] }).nodes).toEqual([]));
});

describe('the ledger', () => {
  it('balances when nothing is missing', () => {
    const row = {
      frames_received: 10,
      frames_decoded: 8,
      frames_filtered: 2,
      frames_quarantined: 0,
      rows_decoded: '20',
      rows_valid: '19',
      rows_quarantined: 1,
      rows_duplicate: 0,
      rows_in: null,
    };
    expect(identitiesOf(row).map(({ left, missing }) => [left.name, missing])).toEqual([
      ['received', 0],
      ['decoded', 0],
    ]);
    expect(counterOf(row)).toBe(19);
  });

  it('says what is missing', () => {
    const row = { rows_handed: 7, rows_written: 4, rows_superseded: 1 };
    expect(identitiesOf(row).map(({ missing }) => missing)).toEqual([2]);
  });
});

describe('rates', () => {
  it('are those of the newest seconds', () => {
    const rates = new Rates(5_000);
    expect(rates.rate('a', 0)).toBeNull();
    rates.note('a', 0, 0);
    rates.note('a', 100, 1_000);
    expect(rates.rate('a', 1_000)).toBe(100);
    for (let at = 2; at <= 20; at += 1) rates.note('a', 100 + at * 10, at * 1_000);
    expect(rates.rate('a', 20_000)).toBe(10);
    expect(rates.rate('a', 60_000)).toBe(5);
  });

  it('begin anew when a counter does', () => {
    const rates = new Rates();
    rates.note('a', 1_000, 0);
    rates.note('a', 10, 1_000);
    expect(rates.rate('a', 1_000)).toBeNull();
  });
});

it('rows are objects by the names of their columns', () => {
  const columns = [{ name: 'name', type: 'text' }];
  expect(fields({ columns, rows: [['a']] })).toEqual([{ name: 'a' }]);
  expect(fields(null)).toEqual([]);
  expect(nodeId('source', 'a')).toBe('source a');
});

describe('back-pressure', () => {
  it('is where rows wait longest at the pace of what takes them', () => {
    const parts = [
      { name: 'fast', row: { rows_waiting: 500 }, rate: 1_000 },
      { name: 'speed_table', row: { rows_waiting: 1_200 }, rate: 40 },
      { name: 'hourly', row: { lag_records: '90' }, rate: 30 },
    ];
    expect(pressure(parts)).toBe('speed_table is slow: 1,200 rows wait, 30 s at its pace.');
    expect(pressure(parts.slice(0, 1))).toBeNull();
    expect(pressure([{ name: 'x', row: { rows_waiting: 0 }, rate: 0 }])).toBeNull();
  });

  it('is worst where nothing is taken', () => {
    const parts = [
      { name: 'slow', row: { rows_waiting: 900 }, rate: 1 },
      { name: 'dead', row: { rows_waiting: 1 }, rate: null },
    ];
    expect(pressure(parts)).toBe('dead takes nothing, 1 row waits.');
  });
});

it('the ledger has what is written to a table as a sink', () => {
  expect([accountOf('table', 'bars'), accountOf('source', 'trades')]).toEqual(['sink bars', 'source trades']);
});
