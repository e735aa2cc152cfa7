import { Counter, Gauge, type Registry } from 'prom-client';

/** What the gauges show about one resource whenever they are read. */
export interface ViewFigures {
  readonly silenceMs: number;
  readonly confirmedAgeMs: number;
  readonly objects: number;
}

export interface KubernetesMetrics {
  readonly relists: Counter<'resource' | 'reason'>;
  readonly watchEnds: Counter<'resource' | 'reason'>;
  readonly badLines: Counter<'resource' | 'reason'>;
  readonly refusedObjects: Counter<'resource'>;
  readonly staleEvents: Counter<'resource'>;
  readonly events: Counter<'outcome'>;
  readonly ambiguousAddresses: Gauge;
  /** Sets where the gauges of a resource get their figures. */
  showView(resource: string, figures: () => ViewFigures): void;
  showAmbiguousAddresses(count: () => number): void;
}

/** Makes the metrics of this room. Seconds that are not known yet are infinite, so that an alert on age fires. */
export function createKubernetesMetrics(registry: Registry): KubernetesMetrics {
  const registers = [registry];
  const views = new Map<string, () => ViewFigures>();
  let countAmbiguous = (): number => 0;
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `kiam_k8s_${name}`, help, labelNames, registers });
  const viewGauge = (name: string, help: string, read: (figures: ViewFigures) => number): Gauge<'resource'> =>
    new Gauge({
      name: `kiam_k8s_${name}`,
      help,
      labelNames: ['resource'],
      registers,
      collect() {
        for (const [resource, figures] of views) this.set({ resource }, read(figures()));
      },
    });
  viewGauge('watch_silence_seconds', 'Time since the last byte of the watch', ({ silenceMs }) => silenceMs / 1000);
  viewGauge(
    'view_confirmed_age_seconds',
    'Time since the start of the last read of the API server that the watch has caught up with',
    ({ confirmedAgeMs }) => confirmedAgeMs / 1000,
  );
  viewGauge('objects', 'Objects held in memory', ({ objects }) => objects);
  const contested = new Gauge({
    name: 'kiam_k8s_ambiguous_addresses',
    help: 'Addresses that more than one live pod claims: served only to an agent whose node is known and has one of those pods',
    registers,
    collect() {
      this.set(countAmbiguous());
    },
  });
  return {
    ambiguousAddresses: contested,
    relists: counter('relists_total', 'Complete lists begun, by what made them necessary', ['resource', 'reason']),
    watchEnds: counter('watch_ends_total', 'Watches that ended, by how', ['resource', 'reason']),
    badLines: counter('bad_lines_total', 'Lines of a watch that were refused', ['resource', 'reason']),
    refusedObjects: counter('refused_objects_total', 'Objects of a list that could not be read', ['resource']),
    staleEvents: counter('stale_events_total', 'Events of a watch that said nothing new', ['resource']),
    events: counter('events_total', 'Events on pods, by outcome', ['outcome']),
    showView: (resource, figures) => views.set(resource, figures),
    showAmbiguousAddresses: (count) => {
      countAmbiguous = count;
    },
  };
}
