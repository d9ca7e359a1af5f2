// Places of the nodes of a flow, from left to right.
import dagre from '@dagrejs/dagre';
import type { Flow, Node } from './flow';

export const NODE_WIDTH = 168;
export const NODE_HEIGHT = 56;

export interface Placed extends Node {
  x: number;
  y: number;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Placed[];
  /** SVG paths. */
  edges: { from: string; to: string; path: string }[];
}

/** Lays a flow out; the same flow is always laid out the same. */
export function layout(flow: Flow): Layout {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 48, edgesep: 8, marginx: 1, marginy: 1 });
  graph.setDefaultEdgeLabel(() => ({}));
  const sorted = [...flow.nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const node of sorted) graph.setNode(node.id, { width: NODE_WIDTH, height: NODE_HEIGHT });
  for (const edge of flow.edges) graph.setEdge(edge.from, edge.to);
  dagre.layout(graph);
  const nodes = sorted.map((node) => {
    const { x, y } = graph.node(node.id);
    return { ...node, x: Math.round(x - NODE_WIDTH / 2), y: Math.round(y - NODE_HEIGHT / 2) };
  });
  const places = new Map(nodes.map((node) => [node.id, node]));
  const edges = flow.edges.map(({ from, to }) => {
    const points = graph.edge(from, to).points.slice(1, -1);
    return { from, to, path: path(places.get(from)!, places.get(to)!, points) };
  });
  const right = Math.max(0, ...nodes.map((node) => node.x + NODE_WIDTH));
  const bottom = Math.max(0, ...nodes.map((node) => node.y + NODE_HEIGHT));
  return { width: right + 1, height: bottom + 1, nodes, edges };
}

/** From the right side of a node to the left side of another, level at every point between. */
function path(from: Placed, to: Placed, between: { x: number; y: number }[]): string {
  const middle = between.length > 1 ? between : [];
  const points = [
    { x: from.x + NODE_WIDTH, y: from.y + NODE_HEIGHT / 2 },
    ...middle,
    { x: to.x, y: to.y + NODE_HEIGHT / 2 },
  ];
  const first = points[0]!;
  let text = `M${first.x},${first.y}`;
  for (let at = 1; at < points.length; at += 1) {
    const [a, b] = [points[at - 1]!, points[at]!];
    const bend = (b.x - a.x) / 2;
    const [ax, ay, bx, by] = [a.x + bend, a.y, b.x - bend, b.y].map((n) => Math.round(n * 10) / 10);
    text += ` C${ax},${ay} ${bx},${by} ${Math.round(b.x)},${Math.round(b.y)}`;
  }
  return text;
}
