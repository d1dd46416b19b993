import { expect, test } from "vitest";
import { IronwrightError } from "../core/errors.ts";
import { createLog } from "./log.ts";

test("secrets are left out, at the top and below", () => {
  const lines: string[] = [];
  const log = createLog("info", { write: (line: string) => void lines.push(line) });
  log.info({ password: "p1", bmc: { password: "p2", spec: { token: "p3" } }, address: "10.0.0.1" }, "connect");
  expect(lines.join("")).not.toMatch(/p[123]/);
  expect(lines.join("")).toContain("10.0.0.1");
});

test("an error says once what it says, with its code, its frames and its cause", () => {
  const lines: string[] = [];
  const log = createLog("info", { write: (line: string) => void lines.push(line) });
  const cause = new Error("connection refused");
  log.warn(
    { err: new IronwrightError("IRW_DATASTORE", { endpoint: "https://127.0.0.1:1", reason: "its last lines:\nfull disk" }, cause) },
    "failed",
  );
  const line = lines.join("");
  expect(line.split("full disk")).toHaveLength(2);
  expect(JSON.parse(line)).toMatchObject({
    err: {
      code: "IRW_DATASTORE",
      message: expect.stringContaining("full disk"),
      stack: expect.stringMatching(/^ +at .*log\.test\.ts.*\n[\s\S]*caused by: .*connection refused/),
    },
  });
});

test("what is thrown and is no error is logged as it is", () => {
  const lines: string[] = [];
  const log = createLog("info", { write: (line: string) => void lines.push(line) });
  log.warn({ err: "it was a word" }, "failed");
  expect(JSON.parse(lines.join(""))).toMatchObject({ err: "it was a word" });
});
