/** The variables that a process is started with, by name. */
export type Environment = Readonly<Record<string, string | undefined>>;
