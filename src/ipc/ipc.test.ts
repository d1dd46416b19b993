import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { IronwrightError } from "../core/errors.ts";
import { createLog } from "../observe/index.ts";
import { callJson, endpoint, serving } from "./index.ts";

let dir: string;
let socket: string;
let hungUp: Promise<unknown>;
const server = createServer(
  serving(
    [
      endpoint("PUT", /^\/echo\/([^/]+)$/, async ({ name, query, body }) => ({ name, times: query.getAll("time"), body })),
      endpoint("GET", /^\/nothing$/, async () => undefined),
      endpoint("GET", /^\/coded$/, async () => {
        throw new IronwrightError("IRW_CELL", { cell: "acme", problem: "it does not wake" });
      }),
      endpoint("GET", /^\/broken$/, async () => {
        throw new Error("the disk is gone");
      }),
      endpoint("GET", /^\/long$/, ({ signal }) => {
        hungUp = new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));
        began();
        return hungUp;
      }),
    ],
    { log: createLog("silent"), largestBytes: 2 ** 20 },
  ),
);
let began = () => {};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "iw-"));
  socket = join(dir, "ipc.sock");
  await new Promise<void>((resolve) => server.listen(socket, resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

const unreachable = (reason: string) => new Error(`nobody there: ${reason}`);
const call = (method: string, path: string, more: { body?: unknown; signal?: AbortSignal } = {}) =>
  callJson(socket, method, path, { unreachable, ...more });

test("name, query and body arrive as they were, and the answer comes back", async () => {
  const answer = await call("PUT", "/echo/a%2Fb?time=1&time=2", { body: { deep: ["ü", null] } });
  expect(answer).toEqual({ name: "a/b", times: ["1", "2"], body: { deep: ["ü", null] } });
  expect(await call("GET", "/nothing")).toEqual({});
});

test("coded errors are the caller's; what else fails there says what", async () => {
  await expect(call("GET", "/coded")).rejects.toMatchObject({ code: "IRW_CELL", facts: { cell: "acme", problem: "it does not wake" } });
  await expect(call("GET", "/broken")).rejects.toThrow("the disk is gone");
  await expect(call("GET", "/echo/a")).rejects.toThrow("GET /echo/a is not served");
});

test("a body that is no JSON, or too large, is refused, and the next call is served", async () => {
  await expect(call("PUT", "/echo/a", { body: "x".repeat(2 ** 20) })).rejects.toThrow(
    /PUT .*ipc\.sock: a message is larger than 1048576 bytes/,
  );
  const status = await new Promise((resolve, reject) => {
    const asking = request({ socketPath: socket, method: "PUT", path: "/echo/a", agent: false }, (answer) =>
      resolve(answer.resume().statusCode),
    );
    asking.once("error", reject).end("{");
  });
  expect(status).toBe(500);
  expect(await call("PUT", "/echo/a", { body: 1 })).toMatchObject({ body: 1 });
});

test("who hangs up is heard; where nobody answers, that is said", async () => {
  const hangUp = new AbortController();
  const started = new Promise<void>((resolve) => {
    began = resolve;
  });
  const calling = call("GET", "/long", { signal: hangUp.signal });
  await started;
  hangUp.abort(new Error("no longer"));
  await expect(calling).rejects.toThrow("no longer");
  expect(await hungUp).toMatchObject({ message: "the caller hung up" });
  await expect(callJson(join(dir, "none.sock"), "GET", "/", { unreachable })).rejects.toThrow(/nobody there: .*ENOENT/);
});
