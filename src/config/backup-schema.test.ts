import { expect, test } from "vitest";
import { backupSchema } from "./backup-schema.ts";

const recipient = "age1p3d3m9urugq2l8vre4eyl7tp0c69g8q4twa84syte7dt9qcvjp9q9gqalq";
const good = { directory: "/mnt/backups", recipients: [recipient] };

test("where to and for whom are enough", () => {
  const plan = backupSchema.parse(good);
  expect(plan).toMatchObject({ schedule: "15 3 * * *", timeZone: "UTC", keep: 14, tenants: true });
});

test.each<[string, object, string]>([
  ["nobody who could read it", { recipients: [] }, "recipients"],
  ["a key that was mistyped", { recipients: [recipient.replace("p3d3", "p3d4")] }, "recipients"],
  ["a secret key", { recipients: ["AGE-SECRET-KEY-1D9379KE2DYR8MYJL4PWN8LYU3LRD7U2V8CFK64WAESYJTZJTC0TSH4EZ46"] }, "recipients"],
  ["a relative directory", { directory: "backups" }, "directory"],
  ["no five fields", { schedule: "daily" }, "schedule"],
  ["a zone there is not", { timeZone: "Europe/Atlantis" }, "timeZone"],
  ["none kept", { keep: 0 }, "keep"],
  ["a setting there is not", { recipient }, ""],
])("%s is refused", (_, change, field) => {
  const { error } = backupSchema.safeParse({ ...good, ...change });
  expect(error?.issues[0]?.path[0] ?? "").toBe(field);
});
