import type fc from 'fast-check';

/** Something that must hold for every input of a kind. */
export interface Property {
  readonly name: string;
  /** One random input and its check; throws or rejects when it does not hold. */
  readonly property: fc.IRawProperty<unknown>;
  /** How much of the whole it is given: what costs more gets less. */
  readonly share: number;
}
