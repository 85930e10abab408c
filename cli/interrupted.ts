/** Ctrl-C, where it has to end more than the process. */
export class Interrupted extends Error {}
