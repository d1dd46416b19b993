import { type DestinationStream, type Logger, pino } from "pino";

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
      redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "REDACTED" },
    },
    destination,
  );
}
