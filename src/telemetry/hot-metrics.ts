import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/**
 * Metrics for what happens tens of thousands of times a second. prom-client finds a series by hashing its labels at every call,
 * which costs a warm request several microseconds; here a series is looked up once and counted in a plain number, which
 * prom-client reads when metrics are collected.
 */

export interface HotMetricOptions<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly Label[];
  readonly registry: Registry;
}

/** One series of a counter. */
export interface CounterSeries {
  inc(): void;
}

export interface HotCounter<Label extends string> {
  /** The series with these labels: always the same object, to be kept by who counts. */
  series(labels: Readonly<Record<Label, string>>): CounterSeries;
}

export function createHotCounter<Label extends string>(options: HotMetricOptions<Label>): HotCounter<Label> {
  const { name, help, labelNames, registry } = options;
  const pending = new Map<string, { readonly labels: Readonly<Record<Label, string>>; count: number; inc(): void }>();
  const counter: Counter<Label> = new Counter({
    name,
    help,
    labelNames: [...labelNames],
    registers: [registry],
    collect: (): void => {
      for (const series of pending.values()) {
        if (series.count > 0) counter.inc({ ...series.labels }, series.count);
        series.count = 0;
      }
    },
  });
  return {
    series: (labels) => {
      const key = JSON.stringify(labelNames.map((label) => labels[label]));
      let series = pending.get(key);
      if (series === undefined) {
        const made = {
          labels,
          count: 0,
          inc: (): void => {
            made.count += 1;
          },
        };
        series = made;
        pending.set(key, series);
      }
      return series;
    },
  };
}

/** One series of a histogram. */
export interface HistogramSeries {
  observe(value: number): void;
}

export interface HotHistogramOptions extends HotMetricOptions<string> {
  /** Upper bounds, ascending, without infinity. */
  readonly buckets: readonly number[];
}

interface Bucketed {
  readonly labels: Readonly<Record<string, string>>;
  /** Per bucket, not cumulative; the last one is for what is above all bounds. */
  readonly counts: number[];
  sum: number;
  observe(value: number): void;
}

export interface HotHistogram {
  /** The series with these labels: always the same object, to be kept by who observes. */
  series(labels: Readonly<Record<string, string>>): HistogramSeries;
}

export function createHotHistogram(options: HotHistogramOptions): HotHistogram {
  return new SeriesHistogram(options);
}

/** A histogram whose values are its series'; prom-client knows it as one of its own. */
class SeriesHistogram extends Histogram {
  readonly #options: HotHistogramOptions;
  readonly #series = new Map<string, Bucketed>();
  /** Says what prom-client says of a histogram beside its values; `super.get()` would call back here. */
  readonly #shape: Histogram;

  constructor(options: HotHistogramOptions) {
    const { name, help, labelNames, buckets, registry } = options;
    super({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] });
    this.#options = options;
    this.#shape = new Histogram({ name, help, registers: [] });
  }

  series(labels: Readonly<Record<string, string>>): HistogramSeries {
    const { labelNames, buckets } = this.#options;
    const key = JSON.stringify(labelNames.map((label) => labels[label]));
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const series: Bucketed = {
      labels,
      counts: Array.from({ length: buckets.length + 1 }, () => 0),
      sum: 0,
      observe: (value) => {
        let bucket = 0;
        while (bucket < buckets.length && value > (buckets[bucket] ?? 0)) bucket += 1;
        series.counts[bucket] = (series.counts[bucket] ?? 0) + 1;
        series.sum += value;
      },
    };
    this.#series.set(key, series);
    return series;
  }

  override get(): ReturnType<Histogram['get']> {
    return this.getForPromString();
  }

  /** What the registry prints: prom-client calls this where it exists, and `get` otherwise. */
  async getForPromString(): ReturnType<Histogram['get']> {
    return {
      ...(await this.#shape.get()),
      values: [...this.#series.values()].flatMap((series) => this.#valuesOf(series)),
    };
  }

  #valuesOf({ labels, counts, sum }: Bucketed): Awaited<ReturnType<Histogram['get']>>['values'] {
    const { name, buckets } = this.#options;
    let cumulated = 0;
    const bucketed = counts.map((count, index) => {
      cumulated += count;
      const le = index < buckets.length ? (buckets[index] ?? 0) : '+Inf';
      return { labels: { le, ...labels }, value: cumulated, metricName: `${name}_bucket` };
    });
    return [
      ...bucketed,
      { labels, value: sum, metricName: `${name}_sum` },
      { labels, value: cumulated, metricName: `${name}_count` },
    ];
  }
}
