import type { FoundPod } from '../wire.ts';
import { askPods } from './ask.ts';
import { byId, h, kindById, setAttributes, setText, syncList } from './dom.ts';
import { hashOf } from './place.ts';
import { counted, visible } from './text.ts';

/** A list of pods, each a link to its explanation. */
export function showPods(list: HTMLElement, pods: readonly FoundPod[]): void {
  syncList(list, pods, {
    key: ({ pod }) => pod,
    create: ({ pod }) =>
      h(
        'li',
        {},
        h('span', { class: 'state' }),
        h('a', { href: hashOf({ kind: 'pod', name: pod }) }, h('bdi', {}, visible(pod))),
        h('span', { class: 'hint' }, h('bdi'), ' ', h('bdi')),
      ),
    update: (element, { role, node, state }) => {
      const [roleText, nodeText] = element.querySelectorAll('.hint bdi');
      setAttributes(element, { class: state });
      const [mark] = element.children;
      if (mark !== undefined) setText(mark, state === 'fine' ? 'ok' : state);
      if (roleText !== undefined) setText(roleText, visible(role));
      if (nodeText !== undefined) setText(nodeText, node === '' ? '' : `on ${visible(node)}`);
    },
  });
}

/** How many pods were found, and whether all of them are shown. */
export function foundText(found: number, shown: number): string {
  return found > shown ? `${counted(found, 'pod')}; here are the worst ${shown}` : counted(found, 'pod');
}

const TYPING_MS = 150;

/** The search at the top: asks the server, which knows all pods, while the reader types. */
export function createSearch(): void {
  const input = kindById('search', HTMLInputElement);
  let asking = new AbortController();
  const search = async (): Promise<void> => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    const text = input.value.trim();
    byId('found').hidden = text === '';
    if (text === '') return;
    await new Promise<void>((resolve) => void setTimeout(resolve, TYPING_MS));
    if (signal.aborted) return;
    try {
      const { found, pods } = await askPods({ search: text }, signal);
      setText(byId('found-count'), foundText(found, pods.length));
      showPods(byId('found-pods'), pods);
    } catch (error) {
      if (!signal.aborted) setText(byId('found-count'), error instanceof Error ? error.message : String(error));
    }
  };
  input.addEventListener('input', () => void search());
  byId('search-form').addEventListener('submit', (event) => {
    event.preventDefault();
    byId('found-pods').querySelector('a')?.click();
  });
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    input.value = '';
    void search();
  });
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
  });
}
