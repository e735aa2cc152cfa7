import { Gauge, type Registry } from 'prom-client';

import { type CounterSeries, createHotCounter } from '#telemetry/hot-metrics.ts';

export interface NodeMetrics {
  /** Answers to pods out of the node's memory. */
  readonly fromMemory: CounterSeries;
  /** Answers for which a server was asked. */
  readonly fromServer: CounterSeries;
}

/** What is counted of the node's memory. `size` and `silenceMs` are read when somebody looks. */
export function createNodeMetrics(
  registry: Registry,
  read: { readonly size: () => number; readonly silenceMs: () => number },
): NodeMetrics {
  const registers = [registry];
  const pods: Gauge = new Gauge({
    name: 'kiam_agent_store_pods',
    help: 'Pods of this node that the server has sent.',
    registers,
    collect: (): void => pods.set(read.size()),
  });
  const silence: Gauge = new Gauge({
    name: 'kiam_agent_stream_silence_seconds',
    help: 'How long nothing has been heard from the server; +Inf without a stream.',
    registers,
    collect: (): void => silence.set(read.silenceMs() / 1000),
  });
  const answered = createHotCounter({
    name: 'kiam_agent_answers_total',
    help: 'Answers to pods by where they came from.',
    labelNames: ['from'],
    registry,
  });
  return { fromMemory: answered.series({ from: 'memory' }), fromServer: answered.series({ from: 'server' }) };
}
