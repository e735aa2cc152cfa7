import type { Explanation, Link, LinkVerdict } from '#server/explain/explanation.ts';

import { askExplanation, askPods } from './ask.ts';
import { byId, h, kindById, setText, syncList } from './dom.ts';
import { agentFacts } from './nodes.ts';
import { hashOf, type Place, placeInHash } from './place.ts';
import { foundText, showPods } from './pods.ts';
import type { ShownOverview } from './store.ts';
import { roleName, visible } from './text.ts';

type Facts = ReturnType<typeof agentFacts>;

const MARKS: Readonly<Record<LinkVerdict, readonly [mark: string, meaning: string]>> = {
  ok: ['✓', 'holds'],
  no: ['✕', 'broken here'],
  unknown: ['?', 'not known'],
  note: ['i', 'note'],
};

/** The sheet beside the overview: a pod's chain, or the pods of a node or a role. The returned function updates it. */
export function createDetail(): (overview: ShownOverview) => Promise<void> {
  const dialog = kindById('detail', HTMLDialogElement);
  const body = byId('detail-body');
  let asking = new AbortController();
  let place: Place = { kind: 'overview' };
  let overview: ShownOverview | undefined;

  const refresh = async (): Promise<void> => {
    if (place.kind === 'overview') return;
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      if (place.kind === 'pod') showExplanation(body, await askExplanation(place.name, signal));
      else showFound(body, factsOf(place, overview), await askPods({ [place.kind]: place.name }, signal));
    } catch (error) {
      if (!signal.aborted)
        body.replaceChildren(h('p', { class: 'outcome bad' }, error instanceof Error ? error.message : String(error)));
    }
  };
  const open = (): void => {
    place = placeInHash(location.hash);
    if (place.kind === 'overview') return dialog.close();
    body.replaceChildren(h('p', { class: 'hint' }, 'asking …'));
    setText(byId('detail-title'), titleOf(place));
    if (!dialog.open) dialog.showModal();
    void refresh();
  };
  dialog.addEventListener('close', () => {
    // The event comes later than the end of the dialog, which may be open again by then.
    if (dialog.open) return;
    asking.abort();
    // The address may name something else by then, which must stay.
    if (hashOf(placeInHash(location.hash)) === hashOf(place)) history.replaceState(null, '', location.pathname);
    place = { kind: 'overview' };
  });
  // A click beside the sheet is one on the dialog's backdrop.
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  byId('detail-close').addEventListener('click', () => dialog.close());
  addEventListener('hashchange', open);
  open();
  return (next) => {
    overview = next;
    return refresh();
  };
}

function factsOf({ kind, name }: Exclude<Place, { kind: 'overview' }>, overview?: ShownOverview): Facts {
  const node = kind === 'node' ? overview?.tables.nodes.get(name) : undefined;
  return node === undefined ? [] : agentFacts(node);
}

function titleOf(place: Place): string {
  if (place.kind === 'overview') return '';
  if (place.kind === 'pod') return visible(place.name);
  if (place.kind === 'role') return `Pods with ${visible(roleName(place.name))}`;
  return place.name === '' ? 'Pods on no node yet' : `Pods on ${visible(place.name)}`;
}

function showFound(body: HTMLElement, facts: Facts, { found, pods }: Awaited<ReturnType<typeof askPods>>): void {
  const list = body.querySelector<HTMLElement>('.pods') ?? h('ul', { class: 'pods' });
  if (!list.isConnected) body.replaceChildren(h('dl', { class: 'facts' }), h('p', { class: 'hint' }), list);
  const [table] = body.children;
  if (table instanceof HTMLElement) {
    syncList(table, facts, {
      key: ([name]) => name,
      create: ([name]) => h('div', {}, h('dt', {}, name), h('dd', {}, h('bdi'))),
      update: (element, [, text]) => {
        const said = element.querySelector('bdi');
        if (said !== null) setText(said, text);
      },
    });
  }
  const hint = body.querySelector('.hint');
  if (hint !== null) setText(hint, foundText(found, pods.length));
  showPods(list, pods);
}

function showExplanation(body: HTMLElement, { outcome, because, links, source, pod, isFound }: Explanation): void {
  const isGood = outcome === 'gets credentials' || outcome === 'is permitted its role';
  const tone = isGood ? 'good' : outcome === 'gets nothing' ? 'bad' : 'warn';
  let list = body.querySelector<HTMLElement>('.chain');
  if (list === null) {
    list = h('ol', { class: 'chain' });
    body.replaceChildren(
      h('p', {}),
      list,
      h('p', { class: 'hint source' }, h('bdi')),
      h('p', { class: 'hint' }, h('code')),
    );
  }
  const [first] = body.children;
  first?.setAttribute('class', `outcome ${tone}`);
  const text = [h('strong', {}, isFound ? outcome : 'no such pod'), h('bdi', {}, visible(because, 1500))];
  if (first?.textContent !== text.map((part) => part.textContent).join('')) first?.replaceChildren(...text);
  syncList<Link>(list, links, {
    key: ({ link }) => link,
    create: ({ link }) =>
      h(
        'li',
        {},
        h('span', { class: 'mark', 'aria-hidden': 'true' }),
        h('p', {}, h('strong', {}, link), h('span', { class: 'unseen' }), h('bdi')),
      ),
    update: (element, { verdict, text: words }) => {
      const [mark, meaning, said] = element.querySelectorAll('.mark, .unseen, bdi');
      element.setAttribute('class', verdict);
      if (mark !== undefined) setText(mark, MARKS[verdict][0]);
      if (meaning !== undefined) setText(meaning, ` ${MARKS[verdict][1]}: `);
      if (said !== undefined) setText(said, visible(words, 1500));
    },
  });
  const [says, command] = body.querySelectorAll('.source bdi, code');
  if (says !== undefined) setText(says, `Says ${visible(source)}.`);
  if (command !== undefined) setText(command, `kiam explain ${visible(pod)}`);
}
