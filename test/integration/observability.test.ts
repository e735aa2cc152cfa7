import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';

import { parse, stringify } from 'yaml';

const read = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

interface Rule {
  alert: string;
  expr: string;
  for: string;
  labels: { severity: string };
}
const groups: { name: string; rules: Rule[] }[] = parse(await read('deploy/monitoring/alerts.yaml')).spec.groups;
const rules = groups.flatMap((group) => group.rules);
const panels: { title: string; targets: { expr: string }[] }[] = JSON.parse(
  await read('deploy/monitoring/dashboard.json'),
).panels;
const withoutPromtool =
  spawnSync('promtool', ['--version']).status === 0 ? false : 'NOT TESTED: promtool is not on the PATH';

/** A series that makes the alert fire after what it waits for, and one of its neighbours that must not. */
interface Case {
  readonly bad: Readonly<Record<string, string>>;
  readonly good: Readonly<Record<string, string>>;
}
const credentials = (code: number): string => `kiam_metadata_responses_total{handler="credentials",code="${code}"}`;
const bucket = (le: string): string => `kiam_metadata_handler_latency_seconds_bucket{handler="credentials",le="${le}"}`;
const packed = (le: string): string => `kiam_sts_packed_policy_percent_bucket{le="${le}"}`;
const oneSeries = (series: string, bad: string, good: string): Case => ({
  bad: { [series]: bad },
  good: { [series]: good },
});
const CASES: Readonly<Record<string, Case>> = {
  KiamRedirectMissing: oneSeries('kiam_agent_interception_present{rule="redirect"}', '0x200', '1x200'),
  KiamGuardMissing: oneSeries('kiam_agent_interception_present{rule="guard"}', '0x200', '1x200'),
  KiamRulesRestoredOften: oneSeries('kiam_agent_interception_restored_total{rule="guard"}', '0+1x200', '0 1x200'),
  KiamAgentWithoutServer: oneSeries('kiam_agent_stream_silence_seconds', '900x200', '2x200'),
  KiamCredentialErrors: {
    bad: { [credentials(200)]: '0+60x200', [credentials(503)]: '0+60x200' },
    good: { [credentials(200)]: '0+60x200', [credentials(503)]: '0+1x200', [credentials(403)]: '0+60x200' },
  },
  KiamRolesNotFound: oneSeries('kiam_metadata_find_role_errors_total{handler="roleName"}', '0+60x200', '0+6x200'),
  KiamSlowAnswers: {
    bad: { [bucket('0.512')]: '0+1x200', [bucket('1.024')]: '0+60x200', [bucket('+Inf')]: '0+60x200' },
    good: { [bucket('0.001')]: '0+60x200', [bucket('1.024')]: '0+60x200', [bucket('+Inf')]: '0+60x200' },
  },
  KiamStsErrors: {
    bad: { kiam_sts_issuing_errors_total: '0+60x200', kiam_sts_assumerole_timing_seconds_count: '0+60x200' },
    good: { kiam_sts_issuing_errors_total: '0+7x200', kiam_sts_assumerole_timing_seconds_count: '0+600x200' },
  },
  KiamStsPaused: oneSeries('kiam_sts_paused', '1x200', '0x200'),
  KiamSessionTagsNearLimit: {
    bad: { [packed('80')]: '0+60x200', kiam_sts_packed_policy_percent_count: '0+61x200' },
    good: { [packed('80')]: '0+60x200', kiam_sts_packed_policy_percent_count: '0+60x200' },
  },
  KiamServerCredentialsEnding: oneSeries('kiam_sts_server_credentials_seconds', '100x200', '3000x200'),
  KiamViewStale: oneSeries('kiam_k8s_watch_silence_seconds{resource="pods"}', '90x200', '10x200'),
  KiamAmbiguousAddresses: oneSeries('kiam_k8s_ambiguous_addresses', '1x200', '0x200'),
  KiamNodesNotReady: oneSeries('kiam_server_nodes{status="Unknown"}', '1x200', '0x200'),
  KiamCertificateExpiresSoon: oneSeries('grpc_client_tls_certificate_expiry_seconds', '400000x200', '4000000x200'),
  KiamCertificateNotTaken: oneSeries('grpc_server_tls_certificate_verify_error', '1x200', '0x200'),
};

/** Series of a case, each with the instance that the scraper adds. */
function inputSeries(samples: Readonly<Record<string, string>>): { series: string; values: string }[] {
  return Object.entries(samples).map(([series, values]) => ({
    series: series.endsWith('}') ? `${series.slice(0, -1)},instance="a"}` : `${series}{instance="a"}`,
    values,
  }));
}

async function promtool(files: Readonly<Record<string, unknown>>, command: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kiam-rules-'));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), stringify(content));
    const { status, stdout, stderr } = spawnSync('promtool', command, { cwd: folder, encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('the observability kit', () => {
  it('the observability kit uses only metrics that docs/metrics.md lists, which another test compares with the daemons', async () => {
    const listed = new Set(
      Array.from((await read('docs/metrics.md')).matchAll(/^\| `(\w+)(?:\{[\w,]+\})?` \|/gm), ([, name]) => name),
    );
    const expressions = [
      ...rules.map((rule) => rule.expr),
      ...panels.flatMap((panel) => panel.targets.map((t) => t.expr)),
    ];
    assert.ok(expressions.length > 25);
    for (const [name] of expressions.join('\n').matchAll(/\b(?:kiam|grpc_server|grpc_client)_\w+/g)) {
      assert.ok(listed.has(name) || listed.has(name.replace(/_(?:bucket|count|sum)$/, '')), name);
    }
  });

  it('the observability kit has a paragraph of the runbook for every alert and none for others', async () => {
    const paragraphs = Array.from((await read('docs/runbook.md')).matchAll(/^## (\w+)$/gm), ([, name]) => name);
    assert.deepEqual(
      paragraphs,
      rules.map((rule) => rule.alert),
    );
    assert.deepEqual(Object.keys(CASES), paragraphs);
  });

  it(
    'the observability kit has expressions in the dashboard that Prometheus takes',
    { skip: withoutPromtool },
    async () => {
      const recorded = panels.flatMap(({ targets }, index) =>
        targets.map(({ expr }) => ({ record: `panel:${index}`, expr: expr.replaceAll('$__rate_interval', '5m') })),
      );
      await promtool({ 'rules.yaml': { groups: [{ name: 'dashboard', rules: recorded }] } }, [
        'check',
        'rules',
        'rules.yaml',
      ]);
    },
  );

  for (const { alert, labels } of rules) {
    it(`${alert} fires when it should and is silent when it should be`, { skip: withoutPromtool }, async () => {
      const { bad, good } = CASES[alert] ?? assert.fail(alert);
      const check = (samples: Readonly<Record<string, string>>, fires: boolean) => ({
        interval: '1m',
        input_series: inputSeries(samples),
        promql_expr_test: [
          {
            expr: `count(ALERTS{alertname="${alert}",alertstate="firing",severity="${labels.severity}",instance="a"})`,
            eval_time: '90m',
            exp_samples: fires ? [{ labels: '{}', value: 1 }] : [],
          },
        ],
      });
      await promtool(
        {
          'rules.yaml': { groups },
          'tests.yaml': { rule_files: ['rules.yaml'], tests: [check(bad, true), check(good, false)] },
        },
        ['test', 'rules', 'tests.yaml'],
      );
    });
  }
});
