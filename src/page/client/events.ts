import type { RecentEvent, RecentEventKind } from '#server/status/history.ts';

import { byId, createShortList, h, setAttributes, setText } from './dom.ts';
import type { ShownOverview } from './store.ts';
import { clockTime, counted, roleName, shortNode, visible } from './text.ts';

interface Words {
  readonly tone: 'bad' | 'warn' | 'good' | 'plain';
  readonly text: (count: number) => string;
}

const WORDS: Readonly<Record<RecentEventKind, Words>> = {
  revoked: {
    tone: 'warn',
    text: (count) => `${counted(count, 'pod')} lost ${count === 1 ? 'its role' : 'their roles'}`,
  },
  'sts-failed': { tone: 'bad', text: (count) => `STS began to fail for ${counted(count, 'role')}` },
  'sts-recovered': { tone: 'good', text: (count) => `STS answers again for ${counted(count, 'role')}` },
  'node-came': { tone: 'plain', text: (count) => `${counted(count, 'node')} came to this replica` },
  'node-left': { tone: 'plain', text: (count) => `${counted(count, 'node')} left this replica` },
};

/** Revocations, hand-overs, and when STS began or stopped refusing a role; the newest first. */
export function createEventsView(): (overview: ShownOverview) => void {
  const show = createShortList<RecentEvent>({
    list: byId('events'),
    more: byId('events-more'),
    step: 12,
    key: ({ sequence }) => String(sequence),
    create: ({ firstAtMs, kind }) =>
      h(
        'li',
        { class: WORDS[kind].tone },
        h('time', { datetime: new Date(firstAtMs).toISOString() }, clockTime(firstAtMs)),
        h('p', {}, h('strong'), ' ', h('bdi', { class: 'subjects' }), h('bdi', { class: 'why' })),
      ),
    update: showEvent,
  });
  return ({ tables: { events } }) => {
    byId('events-none').hidden = events.size > 0;
    show([...events.values()].toSorted((left, right) => right.sequence - left.sequence));
  };
}

function shortSubject(kind: RecentEventKind, subject: string): string {
  if (kind === 'revoked') return subject;
  return kind.startsWith('sts-') ? roleName(subject) : shortNode(subject);
}

function showEvent(element: HTMLElement, { kind, count, subjects, detail }: RecentEvent): void {
  const names = subjects.map((subject) => visible(shortSubject(kind, subject), 120));
  const others = count > subjects.length ? ` and ${count - subjects.length} more` : '';
  const [strong, list, why] = element.querySelectorAll('strong, .subjects, .why');
  setAttributes(element, { class: WORDS[kind].tone });
  if (strong !== undefined) setText(strong, WORDS[kind].text(count));
  if (list !== undefined) setText(list, names.join(', ') + others);
  if (why !== undefined) setText(why, detail === '' ? '' : visible(detail));
}
