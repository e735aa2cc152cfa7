import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { askHttp, LISTING, startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { startBrowser } from './browser.ts';

/*
 * A picture of the dashboard's panels, of a server and an agent that run for some minutes: Prometheus scrapes them and evaluates
 * each panel's expressions as they stand in the file. The lines are drawn here, not by Grafana.
 * Usage: node test/page/dashboard-picture.ts FILE.png [SECONDS]
 */

interface Panel {
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: { readonly defaults: { readonly unit: string } };
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface QueryAnswer {
  readonly status: string;
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly values: readonly (readonly [number, string])[];
    }[];
  };
}

interface Series {
  readonly legend: string;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

const [file = 'dashboard.png', secondsText = '180'] = process.argv.slice(2);
const SECONDS = Number(secondsText);
const SCRAPE_SECONDS = 2;
const COLOURS = ['#4f86ec', '#3fae62', '#e0a100', '#d1313f', '#8e5bd0', '#1fa3a3', '#d9689f', '#7a8794'];
const { panels }: { panels: readonly Panel[] } = JSON.parse(
  await readFile(new URL('../../deploy/monitoring/dashboard.json', import.meta.url), 'utf8'),
);

const cluster = await startCluster();
const folder = await mkdtemp(join(tmpdir(), 'kiam-dashboard-'));
const { world } = cluster;
world.namespace('team', `${world.roleBaseArn}team/.*`);
const pods = await Promise.all(
  Array.from({ length: 40 }, (_, index) =>
    world.pod({ namespace: 'team', name: `app-${index}`, role: `team/role-${index % 25}` }),
  ),
);
const forbidden = await world.pod({ namespace: 'team', name: 'forbidden', role: 'other/role' });
const plain = await world.pod({ namespace: 'team', name: 'plain' });
const server = await cluster.startServer();
const agent = await cluster.startAgent(server.port);
const port = await freePort();
await writeFile(
  join(folder, 'prometheus.yml'),
  JSON.stringify({
    global: { scrape_interval: `${SCRAPE_SECONDS}s` },
    scrape_configs: await Promise.all(
      [server, agent].map(async ({ child }, index) => ({
        job_name: index === 0 ? 'kiam-server' : 'kiam-agent',
        static_configs: [{ targets: [addressIn(await child.line(/"msg":"metrics: listening"/))] }],
      })),
    ),
  }),
);
const prometheus = spawn(
  'prometheus',
  [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ],
  { stdio: 'ignore' },
);
try {
  await eventually(
    'Prometheus is ready',
    30_000,
    async () => (await ask('/-/ready').catch(() => undefined))?.ok === true,
  );
  const endMs = Date.now() + SECONDS * 1000;
  await traffic(endMs);
  const drawn = await Promise.all(panels.map(async (panel) => draw(panel, await seriesOf(panel, endMs / 1000))));
  if (!drawn.some((one) => one.includes('<polyline'))) throw new Error('nothing was recorded');
  await takePicture(drawn.join('\n'));
} finally {
  prometheus.kill();
  await cluster.close();
  await rm(folder, { recursive: true, force: true });
}

/** Pods come and ask, some for what they may not have; for a while STS throttles, and then it fails. */
async function traffic(endMs: number): Promise<void> {
  const startMs = Date.now();
  for (let round = 0; Date.now() < endMs; round += 1) {
    const part = (Date.now() - startMs) / (endMs - startMs);
    world.sts.everywhere(
      part > 0.4 && part < 0.5 ? { throttle: true } : part > 0.65 && part < 0.75 ? { fail: true } : {},
    );
    if (round % 10 === 0) {
      const name = `new-${round}`;
      await world.pod({ namespace: 'team', name, role: `team/new-${round}` });
    }
    const asked = [
      ...pods
        .slice(0, 12 + Math.round(10 * Math.sin(round / 12)))
        .map(({ address }, index) => ({ address, path: `${LISTING}team/role-${index % 25}` })),
      { address: forbidden.address, path: `${LISTING}other/role` },
      { address: plain.address, path: LISTING },
      { address: plain.address, path: '/latest/user-data' },
    ];
    await Promise.all(
      asked.map(({ address, path }) => askHttp({ port: agent.port, from: address, path }).catch(() => undefined)),
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function ask(path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`);
}

async function seriesOf({ title, targets }: Panel, endSeconds: number): Promise<readonly Series[]> {
  const all = targets.map(async ({ expr, legendFormat }) => {
    const query = new URLSearchParams({
      query: expr.replaceAll('$__rate_interval', `${SCRAPE_SECONDS * 5}s`),
      start: String(endSeconds - SECONDS),
      end: String(endSeconds),
      step: String(SCRAPE_SECONDS),
    });
    const answer = (await (await ask(`/api/v1/query_range?${query.toString()}`)).json()) as QueryAnswer;
    if (answer.status !== 'success') throw new Error(`${title}: ${JSON.stringify(answer)}`);
    const { result } = answer.data;
    return result.map(({ metric, values }) => ({
      legend: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => metric[name] ?? ''),
      points: values.map(([at, value]) => [at - endSeconds + SECONDS, Number(value)] as const),
    }));
  });
  return (await Promise.all(all)).flat();
}

function draw({ title, gridPos: { x, y, w, h }, fieldConfig }: Panel, series: readonly Series[]): string {
  const { unit } = fieldConfig.defaults;
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
  const most = Math.max(...values, 0) || 1;
  const lines = series.map(({ points }, index) => {
    const path = points
      .filter(([, value]) => Number.isFinite(value))
      .map(([at, value]) => `${((600 * at) / SECONDS).toFixed(1)},${(150 - (140 * value) / most).toFixed(1)}`);
    return `<polyline points="${path.join(' ')}" fill="none" stroke="${colour(index)}" stroke-width="1.6" vector-effect="non-scaling-stroke"/>`;
  });
  const legend = series.map(
    (one, index) => `<span><i style="background:${colour(index)}"></i>${escape(one.legend)}</span>`,
  );
  const place = `left:${(x / 24) * 100}%;top:${y * 36}px;width:${(w / 24) * 100}%;height:${h * 36}px`;
  const body =
    series.length === 0
      ? '<p class="none">no data</p>'
      : `<small>${spoken(most, unit)}</small><svg viewBox="0 0 600 150" preserveAspectRatio="none"><path d="M0 150H600M0 80H600M0 10H600" stroke="#8884" vector-effect="non-scaling-stroke"/>${lines.join('')}</svg>`;
  return `<section style="${place}"><div><h2>${escape(title)}</h2>${body}<p>${legend.slice(0, 8).join('')}</p></div></section>`;
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? '#000';
}

function spoken(value: number, unit: string): string {
  const number = value.toPrecision(3).replace(/\.?0+$/, '');
  if (unit === 's')
    return value > 7200
      ? `${(value / 3600).toFixed(0)} h`
      : value >= 1
        ? `${number} s`
        : `${(value * 1000).toPrecision(3)} ms`;
  return unit === 'reqps' ? `${number} a second` : unit === 'percentunit' ? `${(value * 100).toFixed(0)} %` : number;
}

function escape(text: string): string {
  return text.replaceAll(/[&<>"]/g, (unit) => `&#${unit.charCodeAt(0)};`);
}

/** What the line says that it listens on. */
function addressIn(line: string): string {
  const { address } = JSON.parse(line) as { address: string };
  return address;
}

async function takePicture(sections: string): Promise<void> {
  const height = Math.max(...panels.map(({ gridPos: { y, h } }) => (y + h) * 36));
  const style = `body{margin:0;background:#f4f5f5;font:13px system-ui,'DejaVu Sans',sans-serif;color:#24292e}main{position:relative;width:1400px;height:${height}px}
section{position:absolute;padding:4px;box-sizing:border-box}section>div{position:relative;height:100%;box-sizing:border-box;padding:8px 12px;background:#fff;border:1px solid #dcdfe3;border-radius:3px}
h2{margin:0 0 4px;font-size:13px}svg{display:block;width:100%;height:calc(100% - 62px)}small{color:#6b737c}p{margin:4px 0 0;white-space:nowrap;overflow:hidden}span{margin-right:12px}i{display:inline-block;width:14px;height:3px;margin-right:5px;vertical-align:middle}.none{padding:60px 0;text-align:center;color:#6b737c}`;
  const browser = await startBrowser();
  const page = await browser.newPage();
  await page.setViewport({ width: 1400, height });
  await page.setContent(`<!doctype html><style>${style}</style><main>${sections}</main>`);
  await page.screenshot({ path: `${file.replace(/\.png$/, '')}.png` });
  await browser.close();
}
