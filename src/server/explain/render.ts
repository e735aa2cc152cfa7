import { shortened } from '#runtime/text.ts';

import type { Explanation, LinkVerdict } from './explanation.ts';

const MARKS: Readonly<Record<LinkVerdict, string>> = { ok: 'ok', no: 'NO', unknown: '??', note: '--' };

/** Longer lines are cut: an expression and an ARN may have 6 KiB together. */
const LONGEST_LINE = 1500;

/** For people: what comes of the pod, then each link on a line. */
export function explanationText({ pod, outcome, because, links, source }: Explanation): string {
  const lines = links.map(({ link, verdict, text }) => `  ${MARKS[verdict]}  ${link.padEnd(11)}  ${text}`);
  return [`${pod} ${outcome}: ${because}`, '', ...lines, '', source].map((line) => `${printable(line)}\n`).join('');
}

/** For programs; in ASCII, which it can be without loss. */
export function explanationJson(explanation: Explanation): string {
  return `${escaped(JSON.stringify(explanation, undefined, 2), /[^\n\x20-\x7e]/g)}\n`;
}

/** Annotations may hold what a terminal takes for commands. */
function printable(line: string): string {
  const cut = shortened(line, LONGEST_LINE, '...');
  return escaped(cut, /[^\x20-\x7e]/g);
}

function escaped(text: string, unprintable: RegExp): string {
  return text.replace(unprintable, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
