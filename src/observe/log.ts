import { type DestinationStream, type Logger, pino } from "pino";
import { IronwrightError } from "../core/errors.ts";

export type { Logger };

/** Never written, wherever they stand in a logged object. By path, not by pattern: a pattern misses, a path is reviewed. */
const SECRETS = ["password", "token", "kubeconfig", "privateKey", "credentials", "secret"];

/**
 * The one logger; parts take a child of it.
 * @param level pino's names
 * @param destination where lines go; standard error by default, so that standard output stays for answers
 */
export function createLog(level: string, destination: DestinationStream = pino.destination(2)): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: saidOnce },
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "REDACTED" },
    },
    destination,
  );
}

/** What an error of ours says is in its message; its facts and each line above the frames of its stack say it again. */
function saidOnce(error: Error): unknown {
  if (!(error instanceof IronwrightError)) return pino.stdSerializers.err(error);
  const { facts: _inTheMessage, stack, ...said } = pino.stdSerializers.err(error) as { facts?: unknown; stack: string };
  const frames = stack.split("\n").filter((line) => /^\s+at |^caused by: /.test(line));
  return { ...said, stack: frames.join("\n") };
}
