import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { isError } from "../core/errors.ts";
import { readKubeconfig } from "./kubeconfig.ts";

const dir = mkdtempSync(join(tmpdir(), "ironwright-kubeconfig-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const base64 = (text: string) => Buffer.from(text).toString("base64");

function config(user: object, cluster: object = {}): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "here",
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443/prefix/", ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [
      { name: "elsewhere", context: { cluster: "none" } },
      { name: "here", context: { cluster: "c", user: "u" } },
    ],
  });
}

test("embedded certificates", async () => {
  const user = { "client-certificate-data": base64("CERT"), "client-key-data": base64("KEY") };
  const access = readKubeconfig(config(user, { "certificate-authority-data": base64("CA"), "tls-server-name": "kubernetes" }));
  expect(access.server).toBe("https://10.0.0.1:6443/prefix");
  expect(access.tls).toEqual({ ca: Buffer.from("CA"), cert: Buffer.from("CERT"), key: Buffer.from("KEY"), servername: "kubernetes" });
  expect(await access.credentials()).toEqual({});
});

test("files, and a token in a file that is read anew", async () => {
  const file = (name: string, content: string) => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const access = readKubeconfig(config({ tokenFile: file("token", "one\n") }, { "certificate-authority": file("ca", "CA") }));
  expect(access.tls.ca).toEqual(Buffer.from("CA"));
  expect(await access.credentials()).toEqual({ authorization: "Bearer one" });
  file("token", "two");
  expect(await access.credentials()).toEqual({ authorization: "Bearer two" });
});

test("a token and a password", async () => {
  expect(await readKubeconfig(config({ token: "t" })).credentials()).toEqual({ authorization: "Bearer t" });
  expect(await readKubeconfig(config({ username: "a", password: "b" })).credentials()).toEqual({ authorization: `Basic ${base64("a:b")}` });
});

test("an exec plugin is run, and answers", async () => {
  const credential = { apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token: "from the plugin" } };
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: "echo",
    args: [JSON.stringify(credential)],
    interactiveMode: "Never",
  };
  expect(await readKubeconfig(config({ exec })).credentials()).toEqual({ authorization: "Bearer from the plugin" });
});

describe("what cannot be used says which field", () => {
  test.each([
    ["no YAML", "{", /./],
    ["no clusters", "contexts: []", /clusters/],
    ["no such context", config({}).replace("current-context: here", "current-context: there"), /no context "there"/],
    ["no such cluster", config({}).replace("current-context: here", "current-context: elsewhere"), /no cluster "none"/],
    ["a server that is no URL", config({}, { server: "10.0.0.1" }), /clusters\.0\.cluster\.server/],
  ])("%s", (_, source, problem) => {
    let thrown: unknown;
    try {
      readKubeconfig(source);
    } catch (error) {
      thrown = error;
    }
    expect(isError(thrown, "IRW_KUBECONFIG_INVALID")).toBe(true);
    expect(String(thrown)).toMatch(problem);
  });
});
