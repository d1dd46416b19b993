/**
 * The supervisor that the daemon starts when none answers: `ironwright supervise` without the rest of the command
 * line, so that a process that stays for years loads little.
 */
import { pino } from "pino";
import { lossyLog } from "./log-file.ts";
import { supervise } from "./server.ts";

const [dir, socket] = process.argv.slice(2);
if (!dir || !socket) throw new Error("usage: detached.ts DIRECTORY SOCKET");
process.title = "ironwright-supervise";
// the terminal it was started from may close
process.on("SIGHUP", () => {});
const log = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, lossyLog(1));
await supervise({ dir, socket, log: log.child({ part: "supervise" }) });
