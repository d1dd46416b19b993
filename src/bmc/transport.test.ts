import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createSession } from "./session.ts";
import { createTransport, type Transport } from "./transport.ts";

const servers: Server[] = [];
const transports: Transport[] = [];

afterEach(async () => {
  for (const one of transports.splice(0)) await one.close();
  for (const one of servers.splice(0)) {
    one.closeAllConnections();
    await new Promise((resolve) => one.close(resolve));
  }
});

async function bmc(answer: RequestListener): Promise<{ origin: string; transport: Transport }> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const transport = createTransport(origin, {}, 2_000);
  transports.push(transport);
  return { origin, transport };
}

test.each([
  ["nested too deep", `${"[".repeat(100_000)}${"]".repeat(100_000)}`, "nested deeper"],
  ["not JSON", "<html>login</html>", "not JSON"],
])("an answer that is %s cannot be used", async (_, text, problem) => {
  const { transport } = await bmc((_request, response) => response.end(text));
  await expect(transport.send("GET", "/redfish/v1", {})).rejects.toMatchObject({
    code: "IRW_BMC_ANSWER",
    facts: { problem: expect.stringContaining(problem) },
  });
});

test("brackets inside texts are not depth", async () => {
  const { transport } = await bmc((_request, response) => response.end(JSON.stringify({ a: '[{"\\'.repeat(50) })));
  expect((await transport.send("GET", "/redfish/v1", {})).body).toEqual({ a: '[{"\\'.repeat(50) });
});

test.each(["https://elsewhere.example/redfish/v1/Systems/1", "//elsewhere.example/redfish", "http://127.0.0.1:1/redfish"])(
  "the link %s is not followed: it would take the credentials there",
  async (link) => {
    const { transport } = await bmc((_request, response) => response.end("{}"));
    await expect(transport.send("GET", link, { authorization: "Basic x" })).rejects.toMatchObject({ code: "IRW_BMC_ANSWER" });
  },
);

test("a pinned certificate is wanted of a BMC without TLS as well: nothing is sent to it", async () => {
  let asked = 0;
  const { origin } = await bmc((_request, response) => {
    asked += 1;
    response.end("{}");
  });
  const pinned = createTransport(origin, { certificateSha256: "ab".repeat(32) }, 2_000);
  transports.push(pinned);
  await expect(pinned.send("GET", "/redfish/v1", { authorization: "Basic x" })).rejects.toMatchObject({
    code: "IRW_BMC_CERTIFICATE",
    facts: { got: "none" },
  });
  expect(asked).toBe(0);
});

test("a redirect is refused, not followed", async () => {
  const asked: string[] = [];
  const { origin, transport } = await bmc((request, response) => {
    asked.push(request.url ?? "");
    response.writeHead(request.method === "POST" ? 404 : 301, { location: "/elsewhere" });
    response.end();
  });
  const session = createSession(transport, origin, { username: "u", password: "p" });
  await expect(session.request("GET", "/redfish/v1/Systems")).rejects.toMatchObject({ code: "IRW_BMC_REFUSED", facts: { status: 301 } });
  expect(asked).not.toContain("/elsewhere");
});
