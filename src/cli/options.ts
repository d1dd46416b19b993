/** Options before the command's name. */
export interface GlobalOptions {
  readonly file?: string;
  readonly set?: readonly string[];
}

export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
