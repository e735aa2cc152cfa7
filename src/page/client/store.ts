import type { OverviewAnswer, Rows, TableChange } from '../wire.ts';

export type ShownTables = { readonly [Name in keyof Rows]: Map<string, Rows[Name]> };

/** What the page knows: the last answer, and the latest version of every row. */
export interface ShownOverview extends Omit<OverviewAnswer, 'tables'> {
  readonly tables: ShownTables;
}

const NEVER: ShownTables = {
  nodes: new Map(),
  identities: new Map(),
  failing: new Map(),
  namespaces: new Map(),
  events: new Map(),
};

/** Merges an answer into what was known before. */
export function applied(answer: OverviewAnswer, before: ShownTables = NEVER): ShownOverview {
  const from = answer.isWhole ? NEVER : before;
  const { tables } = answer;
  return {
    ...answer,
    tables: {
      nodes: changed(from.nodes, tables.nodes),
      identities: changed(from.identities, tables.identities),
      failing: changed(from.failing, tables.failing),
      namespaces: changed(from.namespaces, tables.namespaces),
      events: changed(from.events, tables.events),
    },
  };
}

/** Returns the same map if nothing changed, so that views can compare by identity. */
function changed<Row>(known: Map<string, Row>, { rows, gone }: TableChange<Row>): Map<string, Row> {
  if (rows.length === 0 && gone.length === 0) return known;
  const next = new Map(known);
  for (const key of gone) next.delete(key);
  for (const [key, row] of rows) next.set(key, row);
  return next;
}
