import type { FailingPod } from '#server/status/server-status.ts';

import { byId, createShortList, h, setText, syncList } from './dom.ts';
import { hashOf } from './place.ts';
import type { ShownOverview } from './store.ts';
import { counted, visible } from './text.ts';

/** Pods that fail for one reason; the reason may contain a time that counts on. */
interface FailingGroup {
  readonly key: string;
  readonly reason: string;
  readonly pods: readonly FailingPod[];
}

const MOST_OF_GROUP = 8;
const TIME = /\b\d+(?:\.\d+s|s|m\d+s|h\d+m)\b/g;

/** The failing pods, grouped by reason, because people look for the reason first. */
export function createFailingView(): (overview: ShownOverview) => void {
  const show = createShortList<FailingGroup>({
    list: byId('failing'),
    more: byId('failing-more'),
    step: 20,
    key: ({ key }) => key,
    create: () =>
      h('li', {}, h('p', { class: 'reason' }, h('bdi')), h('ul', { class: 'who' }), h('p', { class: 'hint' })),
    update: showGroup,
  });
  let announced: number | undefined;
  return ({ tables, leftOut }) => {
    const pods = [...tables.failing.values()].toSorted((left, right) => (left.pod < right.pod ? -1 : 1));
    const total = pods.length + leftOut.failing;
    const groups = [...Map.groupBy(pods, ({ reason }) => reason.replaceAll(TIME, '#'))].map(
      ([key, group]): FailingGroup => ({ key, reason: group[0]?.reason ?? '', pods: group }),
    );
    show(groups.toSorted((left, right) => left.pods.length - right.pods.length));
    byId('failing-left-out').hidden = leftOut.failing === 0;
    setText(
      byId('failing-left-out'),
      `${counted(leftOut.failing, 'more pod fails', 'more pods fail')}: search finds them.`,
    );
    byId('failing-none').hidden = total > 0;
    byId('failing-card').classList.toggle('is-bad', total > 0);
    document.title = total === 0 ? 'Kiam' : `(${total}) Kiam`;
    if (announced !== total)
      setText(byId('announce'), total === 0 ? 'No pod fails' : counted(total, 'pod fails', 'pods fail'));
    announced = total;
  };
}

function showGroup(element: HTMLElement, { reason, pods }: FailingGroup): void {
  const [said, list, more] = element.children;
  const text = said?.firstElementChild ?? undefined;
  if (text !== undefined) setText(text, visible(reason, 600));
  if (list instanceof HTMLElement) {
    syncList(list, pods.slice(0, MOST_OF_GROUP), { key: ({ pod }) => pod, create: newPod, update: () => {} });
  }
  const hidden = pods.length - MOST_OF_GROUP;
  if (more !== undefined) setText(more, hidden > 0 ? `and ${counted(hidden, 'other pod')} for the same reason` : '');
}

function newPod({ pod, node }: FailingPod): HTMLElement {
  const where = h('a', { class: 'quiet', href: hashOf({ kind: 'node', name: node }) }, h('bdi', {}, visible(node)));
  return h(
    'li',
    {},
    h('a', { href: hashOf({ kind: 'pod', name: pod }) }, h('bdi', {}, visible(pod))),
    ...(node === '' ? [] : [' on ', where]),
  );
}
