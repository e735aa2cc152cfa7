import type { NodeRow } from '../wire.ts';
import { byId, h, setAttributes, setText, syncList } from './dom.ts';
import { go } from './place.ts';
import type { ShownOverview } from './store.ts';
import { counted, shortNode, visible } from './text.ts';

type NodeState = 'failing' | 'waiting' | 'served' | 'elsewhere';

const MEANINGS: Readonly<Record<NodeState, readonly [few: string, meaning: string]>> = {
  failing: ['failing', 'a pod on it gets nothing'],
  waiting: ['waiting', 'credentials or the first report to its agent are on their way, or its agent is not ready'],
  served: ['served', 'its agent has all that its pods may have'],
  elsewhere: ['not here', 'no agent of it has a stream to this replica; another replica may have one'],
};
const STATES = ['failing', 'waiting', 'served', 'elsewhere'] as const satisfies readonly NodeState[];

/** Cells created between two frames. */
const CELLS_AT_ONCE = 150;

const byName = new Intl.Collator('en', { numeric: true });

/** The map: one cell for each node, which keeps its place. */
export function createNodesView(): (overview: ShownOverview) => void {
  const map = byId('nodes');
  listenForKeys(map);
  let shown: ShownOverview['tables']['nodes'] | undefined;
  let names: readonly string[] = [];
  let run = 0;
  return ({ tables: { nodes } }) => {
    if (nodes === shown) return;
    if (shown === undefined || nodes.size !== shown.size || names.some((name) => !nodes.has(name))) {
      names = [...nodes.keys()].toSorted((left, right) => byName.compare(left, right));
    }
    shown = nodes;
    showLegend(nodes);
    run += 1;
    void showCells(map, names, nodes, { isOver: () => shown !== nodes });
  };
}

async function showCells(
  map: HTMLElement,
  names: readonly string[],
  nodes: ReadonlyMap<string, NodeRow>,
  { isOver }: { readonly isOver: () => boolean },
): Promise<void> {
  const present = names.flatMap((name) => nodes.get(name) ?? []);
  map.classList.toggle('is-large', names.length <= 60);
  for (let count = Math.min(map.childElementCount, present.length); ; count += CELLS_AT_ONCE) {
    const isLast = count >= present.length;
    const upTo = isLast ? present : present.slice(0, Math.max(count, CELLS_AT_ONCE));
    syncList(map, upTo, { key: ({ node }) => node, create: newCell, update: showCell });
    keepOneTabStop(map);
    if (isLast) return;
    await new Promise<void>((resolve) => void setTimeout(resolve, 0));
    if (isOver()) return;
  }
}

function stateOf({ failing, waiting, streams, synced, agent }: NodeRow): NodeState {
  if (failing > 0) return 'failing';
  if (streams === 0) return 'elsewhere';
  return waiting > 0 || !synced || agent?.isReady === false ? 'waiting' : 'served';
}

/** What the agent of a node reports, and what is wrong with it. */
export function agentFacts({ agent }: NodeRow): readonly (readonly [name: string, text: string])[] {
  if (agent === null) return [];
  const { version, isReady, notReadyBecause, redirect, guard, lastError } = agent;
  return [
    ['Agent', `${visible(version, 80)}, ${isReady ? 'ready' : `not ready: ${visible(notReadyBecause)}`}`],
    ['Redirect', redirect],
    ['Guard', guard],
    ...(lastError === null ? [] : [['Last error', visible(lastError, 600)] as const]),
  ];
}

function newCell({ node }: NodeRow): HTMLElement {
  const cell = h('button', { type: 'button', tabindex: '-1' });
  cell.append(h('bdi', { class: 'name' }, node === '' ? '' : visible(shortNode(node))));
  cell.addEventListener('click', () => go({ kind: 'node', name: node }));
  return cell;
}

function showCell(cell: HTMLElement, node: NodeRow): void {
  const state = stateOf(node);
  const [few] = MEANINGS[state];
  const failing = node.failing > 0 ? `, ${counted(node.failing, 'fails', 'fail')}` : '';
  const waiting = node.waiting > 0 ? `, ${counted(node.waiting, 'waits', 'wait')}` : '';
  const problem =
    node.agent?.isReady === false ? `. The agent is not ready: ${visible(node.agent.notReadyBecause, 200)}` : '';
  const title = `${titleOf(node.node)}: ${few}. ${counted(node.pods, 'pod')}${failing}${waiting}${problem}`;
  const mark = state === 'failing' ? String(node.failing) : state === 'waiting' ? '…' : '';
  setAttributes(cell, { class: `cell ${state}`, 'aria-label': title, title, 'data-mark': mark });
}

function titleOf(node: string): string {
  return node === '' ? 'on no node yet' : visible(node);
}

function showLegend(nodes: ReadonlyMap<string, NodeRow>): void {
  const counts = new Map<NodeState, number>();
  for (const node of nodes.values()) counts.set(stateOf(node), (counts.get(stateOf(node)) ?? 0) + 1);
  syncList(byId('legend'), STATES, {
    key: (state) => state,
    create: (state) =>
      h(
        'li',
        { title: MEANINGS[state][1] },
        h('span', { class: `swatch ${state}`, 'aria-hidden': 'true' }),
        h('span', {}, ''),
      ),
    update: (element, state) => {
      const text = element.lastElementChild;
      if (text !== null) setText(text, `${counts.get(state) ?? 0} ${MEANINGS[state][0]}`);
    },
  });
}

/** All cells together are one stop of the Tab key; arrow keys move among them. */
function keepOneTabStop(map: HTMLElement): void {
  if (map.querySelector('[tabindex="0"]') === null) map.firstElementChild?.setAttribute('tabindex', '0');
}

function listenForKeys(map: HTMLElement): void {
  map.addEventListener('keydown', (event) => {
    const cells = Array.from(map.children).filter((cell) => cell instanceof HTMLElement);
    const at = cells.findIndex((cell) => cell === document.activeElement);
    const next = cells[indexAfter(event.key, at, cells)];
    if (at < 0 || next === undefined || next === document.activeElement) return;
    event.preventDefault();
    for (const cell of map.querySelectorAll('[tabindex="0"]')) cell.setAttribute('tabindex', '-1');
    next.setAttribute('tabindex', '0');
    next.focus();
  });
}

function indexAfter(key: string, at: number, cells: readonly HTMLElement[]): number {
  const top = cells[0]?.offsetTop;
  const wrapsAt = cells.findIndex((cell) => cell.offsetTop !== top);
  const columns = wrapsAt < 0 ? cells.length : wrapsAt;
  const steps: Readonly<Record<string, number>> = {
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
    Home: -at,
    End: cells.length - 1 - at,
  };
  return at + (steps[key] ?? 0);
}
