import { byId, createShortList, h, setAttributes, setText, syncList } from './dom.ts';
import type { ShownOverview } from './store.ts';
import { counted, spokenTime, visible } from './text.ts';

interface Tile {
  readonly name: string;
  readonly value: string;
  readonly hint: string;
  readonly tone: 'bad' | 'warn' | 'good' | 'plain';
}

/** The tiles at the top: what to know at a glance. */
export function createTilesView(): (overview: ShownOverview) => void {
  const showNamespaces = createNamespacesView();
  return (overview) => {
    showReplica(overview);
    showNamespaces(overview);
    syncList(byId('tiles'), tilesOf(overview), {
      key: ({ name }) => name,
      create: ({ name }) =>
        h('div', {}, h('dt', {}, name), h('dd', {}, h('span', { class: 'value' }), h('span', { class: 'hint' }))),
      update: (element, { value, hint, tone }) => {
        const [number, text] = element.querySelectorAll('.value, .hint');
        setAttributes(element, { class: `tile ${tone}` });
        if (number !== undefined) setText(number, value);
        if (text !== undefined) setText(text, hint);
      },
    });
  };
}

function tilesOf({ tables, pods, leftOut, replica, sts }: ShownOverview): readonly Tile[] {
  const failing = tables.failing.size + leftOut.failing;
  const nodes = [...tables.nodes.values()];
  const here = nodes.filter(({ streams }) => streams > 0).length;
  const calls = sts.reduce((sum, minute) => sum + minute.calls, 0);
  const failures = sts.reduce((sum, minute) => sum + minute.failures, 0);
  const { viewAgeSeconds: age, viewProblem, certificateDaysLeft: days } = replica;
  return [
    {
      name: 'Failing pods',
      value: failing.toLocaleString('en'),
      hint: `of ${counted(pods, 'pod')} with a role`,
      tone: failing > 0 ? 'bad' : 'good',
    },
    {
      name: 'Nodes',
      value: nodes.length.toLocaleString('en'),
      hint: here === nodes.length ? 'all have a stream here' : `${here} have a stream here`,
      tone: 'plain',
    },
    {
      name: 'Identities',
      value: (tables.identities.size + leftOut.identities).toLocaleString('en'),
      hint: 'role and session name',
      tone: 'plain',
    },
    {
      name: 'STS calls',
      value: calls.toLocaleString('en'),
      hint: failures === 0 ? 'none failed in an hour' : `${failures.toLocaleString('en')} failed in an hour`,
      tone: replica.sts.paused ? 'bad' : failures > 0 ? 'warn' : 'plain',
    },
    {
      name: 'View of the cluster',
      value: age === null ? '?' : spokenTime(age),
      hint: viewProblem === null ? 'old at most' : visible(viewProblem, 120),
      tone: viewProblem !== null || age === null || age > 30 ? 'warn' : 'plain',
    },
    {
      name: 'TLS certificate',
      value: days === null ? '?' : counted(days, 'day'),
      hint: 'left',
      tone: days === null || days < 3 ? 'bad' : days < 14 ? 'warn' : 'plain',
    },
  ];
}

function showReplica({ replica: { name, version, waitingFor } }: ShownOverview): void {
  const state = waitingFor.length === 0 ? 'ready' : visible(waitingFor.join('; '));
  const element = byId('replica');
  setText(element, `${visible(name, 80)} · ${version} · ${state}`);
  element.classList.toggle('is-bad', waitingFor.length > 0);
}

function createNamespacesView(): (overview: ShownOverview) => void {
  const show = createShortList<{ readonly name: string; readonly problem: string; readonly pods: number }>({
    list: byId('namespaces'),
    more: byId('namespaces-more'),
    step: 10,
    key: ({ name }) => name,
    create: ({ name }) => h('li', {}, h('strong', {}, h('bdi', {}, visible(name))), ' ', h('bdi')),
    update: (element, { problem, pods }) => {
      const text = element.lastElementChild;
      element.classList.toggle('is-bad', !problem.startsWith('permits'));
      if (text !== null) setText(text, `${visible(problem)} (${counted(pods, 'pod')})`);
    },
  });
  return ({ tables: { namespaces } }) => {
    byId('namespaces-card').hidden = namespaces.size === 0;
    show([...namespaces.values()].toSorted((left, right) => (left.name < right.name ? -1 : 1)));
  };
}
