import { describe, expect, it } from 'vitest';
import { Rates, counterOf, fields, flowOf, identitiesOf, nodeId, partsOf } from './flow';
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
