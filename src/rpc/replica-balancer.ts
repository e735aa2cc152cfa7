import { connectivityState, experimental, type Metadata, status } from '@grpc/grpc-js';

import type { Replicas } from './replicas.ts';

const { endpointToString, LeafLoadBalancer, QueuePicker, registerLoadBalancerType, UnavailablePicker } = experimental;

const NAME = 'kiam_replicas';

/** The channel option that carries the {@link ReplicaCalls} of a channel. */
const CALLS_OPTION = 'kiam.replica_calls';

/** Names a call to the balancer, which takes it away: it is never sent. */
const CALL_KEY = 'kiam-call';

const { IDLE, CONNECTING, READY, TRANSIENT_FAILURE } = connectivityState;

/** What a channel and its balancer share: which replicas answer, and where the questions under way have been. */
export class ReplicaCalls {
  readonly replicas: Replicas;
  readonly #tried = new Map<string, Set<string>>();
  #count = 0;

  constructor(replicas: Replicas) {
    this.replicas = replicas;
  }

  /** Channel options that put these in force. */
  options(): Readonly<Record<string, unknown>> {
    registerLoadBalancerType(NAME, ReplicaBalancer, ReplicaConfig);
    return {
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ [NAME]: {} }] }),
      [CALLS_OPTION]: this,
    };
  }

  /** Marks a call that is about to be made: it goes to a replica that is not in `tried`, and is put there. Returns its end. */
  begin(metadata: Metadata, tried: Set<string>): () => void {
    this.#count += 1;
    const key = String(this.#count);
    this.#tried.set(key, tried);
    metadata.set(CALL_KEY, key);
    return () => this.#tried.delete(key);
  }

  /** Where the question of a call has been; undefined for a stream. */
  triedOf(metadata: Metadata): Set<string> | undefined {
    const key = metadata.get(CALL_KEY)[0];
    metadata.remove(CALL_KEY);
    return typeof key === 'string' ? this.#tried.get(key) : undefined;
  }
}

class ReplicaConfig implements experimental.TypedLoadBalancingConfig {
  static createFromJson(): ReplicaConfig {
    return new ReplicaConfig();
  }

  getLoadBalancerName(): string {
    return NAME;
  }

  toJsonObject(): object {
    return { [NAME]: {} };
  }
}

/** grpc-js's side of {@link Replicas}: connects to every address of the name, as its own `round_robin` does. */
class ReplicaBalancer implements experimental.LoadBalancer {
  readonly #helper: experimental.ChannelControlHelper;
  readonly #childHelper: experimental.ChannelControlHelper;
  readonly #children = new Map<string, experimental.LeafLoadBalancer>();
  #calls: ReplicaCalls | undefined;
  #state = IDLE;
  #lastError = '';
  #isPaused = false;

  constructor(helper: experimental.ChannelControlHelper) {
    this.#helper = helper;
    this.#childHelper = experimental.createChildChannelControlHelper(helper, {
      updateState: (state, _picker, error) => {
        // A replica that was lost may have a successor at another address.
        if (this.#state === READY && state !== READY) helper.requestReresolution();
        if (error !== null) this.#lastError = error;
        this.#update();
      },
    });
  }

  updateAddressList(...[list, , options, note]: Parameters<experimental.LoadBalancer['updateAddressList']>): boolean {
    const calls: unknown = options[CALLS_OPTION];
    if (!(calls instanceof ReplicaCalls)) return false;
    this.#calls = calls;
    if (!list.ok) {
      if (this.#children.size === 0) this.#fail(list.error.details);
      return true;
    }
    const wanted = new Map(list.value.map((endpoint) => [endpointToString(endpoint), endpoint]));
    this.#isPaused = true;
    for (const [name, child] of this.#children) {
      if (wanted.has(name)) continue;
      child.destroy();
      this.#children.delete(name);
    }
    for (const [name, endpoint] of wanted) {
      if (this.#children.has(name)) continue;
      const child = new LeafLoadBalancer(endpoint, this.#childHelper, options, note);
      this.#children.set(name, child);
      child.startConnecting();
    }
    this.#isPaused = false;
    if (wanted.size === 0) this.#fail(`No addresses resolved. ${note}`);
    else this.#update();
    return true;
  }

  #update(): void {
    if (this.#isPaused || this.#calls === undefined) return;
    const children = [...this.#children];
    const ready = children.filter(([, child]) => child.getConnectivityState() === READY);
    const states = children.map(([, child]) => child.getConnectivityState());
    this.#calls.replicas.update(
      new Set(this.#children.keys()),
      ready.map(([name]) => name),
    );
    if (ready.length > 0) this.#become(READY, new ReplicaPicker(this.#calls, new Map(ready)), null);
    else if (states.includes(CONNECTING)) this.#become(CONNECTING, new QueuePicker(this), null);
    else if (states.includes(TRANSIENT_FAILURE))
      this.#fail(`No connection established. Last error: ${this.#lastError}`);
    else this.#become(IDLE, new QueuePicker(this), null);
    // All of them are to be connected at all times, so that there is another to ask.
    for (const [, child] of children) if (child.getConnectivityState() === IDLE) child.exitIdle();
  }

  #fail(details: string): void {
    this.#become(TRANSIENT_FAILURE, new UnavailablePicker({ details }), details);
  }

  #become(state: connectivityState, picker: experimental.Picker, error: string | null): void {
    this.#state = state;
    this.#helper.updateState(state, picker, error);
  }

  exitIdle(): void {}

  resetBackoff(): void {}

  destroy(): void {
    for (const child of this.#children.values()) child.destroy();
    this.#children.clear();
  }

  getTypeName(): string {
    return NAME;
  }
}

class ReplicaPicker implements experimental.Picker {
  readonly #calls: ReplicaCalls;
  readonly #connected: ReadonlyMap<string, experimental.LeafLoadBalancer>;

  constructor(calls: ReplicaCalls, connected: ReadonlyMap<string, experimental.LeafLoadBalancer>) {
    this.#calls = calls;
    this.#connected = connected;
  }

  pick(args: experimental.PickArgs): experimental.PickResult {
    const { replicas } = this.#calls;
    const tried = this.#calls.triedOf(args.metadata);
    const name = replicas.choose(tried ?? new Set()) ?? '';
    const picker = this.#connected.get(name)?.getPicker() ?? new UnavailablePicker();
    const result = picker.pick(args);
    if (tried === undefined) {
      // Who cancels a stream has heard nothing for too long.
      const onCallEnded = (code: status): void => {
        if (code === status.CANCELLED) replicas.foundSilent(name);
      };
      return { ...result, onCallEnded };
    }
    tried.add(name);
    return {
      ...result,
      onCallStarted: () => replicas.asked(name),
      onCallEnded: (code) => replicas.ended(name, code !== status.DEADLINE_EXCEEDED && code !== status.CANCELLED),
    };
  }
}
