import { expect, test } from "vitest";
import { createLog } from "./log.ts";

test("secrets are left out, at the top and below", () => {
  const lines: string[] = [];
  const log = createLog("info", { write: (line: string) => void lines.push(line) });
  log.info({ password: "p1", bmc: { password: "p2", spec: { token: "p3" } }, address: "10.0.0.1" }, "connect");
  expect(lines.join("")).not.toMatch(/p[123]/);
  expect(lines.join("")).toContain("10.0.0.1");
});
