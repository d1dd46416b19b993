import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { createMetrics, metricTable } from "./metrics.ts";

test("every metric of the table is exposed, under its name and with its help", async () => {
  const text = await createMetrics().text();
  for (const { name, help, kind } of Object.values(metricTable)) {
    expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`);
  }
});

test("names follow Prometheus: our prefix, counters end in _total, times in _seconds", () => {
  for (const { name, kind, help } of Object.values(metricTable)) {
    expect(name).toMatch(/^ironwright_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(kind === "counter");
    if (/\btime\b|how long/i.test(help)) expect(name).toMatch(/_seconds$/);
  }
});

test("what is read off is read at each scrape, until that is ended; two daemons share nothing", async () => {
  const metrics = createMetrics(new Registry());
  let free = 7;
  const end = metrics.onScrape(() => metrics.poolFree.set({ interface: "prov0" }, free));
  expect(await metrics.text()).toContain('ironwright_dhcp_pool_free_addresses{interface="prov0"} 7');
  free = 6;
  expect(await metrics.text()).toContain('{interface="prov0"} 6');
  end();
  free = 5;
  expect(await metrics.text()).toContain('{interface="prov0"} 6');
  expect(await createMetrics().text()).not.toContain("prov0");
});
