import type { FlagsOf } from './option.ts';
import type { STATUS_OPTIONS } from './table.ts';

export type StatusFlags = FlagsOf<typeof STATUS_OPTIONS>;
