import type { Page } from 'puppeteer-core';

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  /** The time of the thread itself, in microseconds: others use the machine as well. */
  readonly tdur?: number;
  readonly ts: number;
  readonly args: { readonly name?: string; readonly data?: { readonly isMainFrame?: boolean } };
}

/** How long the main thread of a page was at one task at most, while it was opened and used. Closes the page. */
export async function longestTasks(
  page: Page,
  url: string,
  use: (page: Page) => Promise<void>,
): Promise<{ readonly longestMs: number; readonly longest: string; readonly tasks: number }> {
  await page.setViewport({ width: 1440, height: 1000 });
  await page.tracing.start({
    categories: ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel', '__metadata'],
  });
  await page.goto(url);
  await use(page);
  const buffer = await page.tracing.stop();
  await page.close();
  const { traceEvents: events }: { traceEvents: readonly TraceEvent[] } = JSON.parse(new TextDecoder().decode(buffer));
  const isMain = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = events.filter(({ name, pid, tid }) => name === 'RunTask' && isMain.has(`${pid} ${tid}`));
  if (tasks.length < 100) throw new Error(`the trace has ${tasks.length} tasks: it shows nothing`);
  const [longest] = tasks.toSorted((left, right) => (right.tdur ?? 0) - (left.tdur ?? 0));
  const inside = events
    .filter(
      ({ ts, pid, tid, name }) =>
        longest !== undefined &&
        pid === longest.pid &&
        tid === longest.tid &&
        ts >= longest.ts &&
        ts < longest.ts + (longest.dur ?? 0) &&
        name !== 'RunTask',
    )
    .toSorted((left, right) => (right.tdur ?? 0) - (left.tdur ?? 0));
  return {
    longestMs: (longest?.tdur ?? 0) / 1000,
    longest: inside
      .slice(0, 6)
      .map(({ name, tdur = 0 }) => `${name} ${tdur / 1000}`)
      .join(', '),
    tasks: tasks.length,
  };
}
