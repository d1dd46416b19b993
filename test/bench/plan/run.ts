import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Take its output even when it fails. */
  readonly anyway?: boolean;
}

/** What a program printed on standard output; when it fails, an error with the last it said. */
export async function run(program: string, args: readonly string[], { cwd, env, anyway }: RunOptions = {}): Promise<string> {
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  const [code, out, err] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (code !== 0 && !anyway) throw new Error(`${program} ${args.slice(0, 3).join(" ")} ended with ${code}: ${(err || out).slice(-2000)}`);
  return out;
}
