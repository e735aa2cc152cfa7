import { askOverview } from './ask.ts';
import { createDetail } from './detail.ts';
import { byId, setText } from './dom.ts';
import { createEventsView } from './events.ts';
import { createFailingView } from './failing.ts';
import { createIdentitiesView } from './identities.ts';
import { createNodesView } from './nodes.ts';
import { createSearch } from './pods.ts';
import { applied, type ShownOverview } from './store.ts';
import { createStsView } from './sts.ts';
import { spokenTime } from './text.ts';
import { createTilesView } from './tiles.ts';

const POLL_MS = 2000;
const ASK_LIMIT_MS = 10_000;
const LATE_MS = 6000;

const views = [
  createTilesView(),
  createFailingView(),
  createNodesView(),
  createStsView(),
  createIdentitiesView(),
  createEventsView(),
];
createSearch();
const refreshDetail = createDetail();

let overview: ShownOverview | undefined;
let answeredAtMs = performance.now();
let problem = '';

/** Updates the views one at a time, so that the browser can work in between. */
async function show(next: ShownOverview): Promise<void> {
  for (const view of views) {
    view(next);
    await new Promise<void>((resolve) => void setTimeout(resolve, 0));
  }
}

let isPolling = false;

async function poll(): Promise<void> {
  if (isPolling) return;
  isPolling = true;
  try {
    const answer = await askOverview(overview?.cursor ?? '', AbortSignal.timeout(ASK_LIMIT_MS));
    overview = applied(answer, overview?.tables);
    answeredAtMs = performance.now();
    problem = '';
    await show(overview);
    await refreshDetail(overview);
  } catch (error) {
    problem = error instanceof TypeError || error instanceof DOMException ? 'no answer' : String(error);
  } finally {
    isPolling = false;
  }
}

function showFreshness(): void {
  const ageMs = performance.now() - answeredAtMs;
  const isLate = problem !== '' && ageMs > LATE_MS;
  const [dot, text] = byId('freshness').children;
  dot?.classList.toggle('is-bad', isLate);
  if (text !== undefined) setText(text, isLate ? 'not up to date' : 'live');
  document.body.classList.toggle('is-late', isLate);
  byId('trouble').hidden = problem === '' || (overview !== undefined && !isLate);
  const hint = problem === 'no answer' ? 'The server does not answer. Is the port-forward still running?' : problem;
  // What is read out does not count the seconds.
  setText(byId('trouble'), problem === '' ? '' : hint);
  byId('freshness').title = `last answer ${spokenTime(ageMs / 1000)} ago`;
}

async function run(): Promise<void> {
  for (;;) {
    // A page that nobody sees asks for nothing.
    if (document.visibilityState === 'visible') await poll();
    showFreshness();
    await new Promise<void>((resolve) => void setTimeout(resolve, POLL_MS));
  }
}

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') void poll().then(showFreshness);
});
void run();
