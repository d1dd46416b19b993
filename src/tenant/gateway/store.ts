import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { reasonOf } from "../../core/errors.ts";
import { writePrivate } from "../files.ts";
import { type Held, parseRoute } from "./route.ts";

/** Routes on disk, a file each, so that a gateway that ended serves again before the daemon says anything. */
export interface RouteStore {
  read(): readonly Held[];
  write(held: Held): Promise<void>;
  remove(id: string): void;
}

export function routeStore(dir: string, log: Logger): RouteStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const fileOf = (id: string) => join(dir, `${id}.json`);
  return {
    read: () =>
      readdirSync(dir)
        .filter((file) => file.endsWith(".json"))
        .flatMap((file) => {
          try {
            const { route, woken } = JSON.parse(readFileSync(join(dir, file), "utf8")) as { route: unknown; woken: unknown };
            return [{ route: parseRoute(route), woken: woken === true }];
          } catch (error) {
            log.error({ file, reason: reasonOf(error) }, "the record of a route cannot be read; the daemon will write it again");
            return [];
          }
        }),
    write: (held) => writePrivate(fileOf(held.route.id), `${JSON.stringify(held)}\n`),
    remove: (id) => rmSync(fileOf(id), { force: true }),
  };
}
