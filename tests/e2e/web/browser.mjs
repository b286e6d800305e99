// Starts headless Chromium with page.js in it and obeys JSON lines on stdin:
//   {"id": 1, "do": "press", "with": {…}}  is answered by  {"id": 1, "result": …} or {"id": 1, "error": "…"}
// What the page has to say comes in between as {"news": {…}}. Ends when stdin ends.
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const [chromium, profile] = process.argv.slice(2);
// Served by ourselves below: only a page on loopback has all of WebRTC and WebAudio.
const PAGE = "http://127.0.0.1/";
// Hides addresses behind .local names; keeps a page of an intercepted request from loopback.
const OFF = [
  "WebRtcHideLocalIpsWithMdns",
  "LocalNetworkAccessChecks",
  "LocalNetworkAccessChecksWebSockets",
  "LocalNetworkAccessChecksWebRTC",
];
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const bundle = await build({
  entryPoints: [fileURLToPath(new URL("page.js", import.meta.url))],
  bundle: true,
  write: false,
  format: "iife",
  platform: "browser",
  define: { global: "globalThis" },
  logLevel: "error",
});

const browser = await puppeteer.launch({
  executablePath: chromium,
  userDataDir: profile,
  // With a pipe the browser ends when this program does, however that happens.
  pipe: true,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    // Without these there are only .local candidates, of one interface, and none on loopback.
    `--disable-features=${OFF.join()}`,
    "--allow-loopback-in-peer-connection",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
  ],
});
const page = await browser.newPage();
page.on("console", (message) => console.error(`console: ${message.text()}`));
page.on("pageerror", (error) => console.error(`page: ${error.stack ?? error}`));
await page.setRequestInterception(true);
page.on("request", (request) => {
  if (request.url() === PAGE) {
    request.respond({ contentType: "text/html", body: "<!doctype html><meta charset=utf-8><title>e2e</title>" });
  } else {
    request.abort();
  }
});
await page.goto(PAGE);
await page.exposeFunction("say", (news) => (news.trace ? console.error(news.trace) : tell({ news })));
// A page that may listen is told all its addresses, not only that of the default route.
await page.evaluate(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  stream.getTracks().forEach((track) => track.stop());
});
await page.addScriptTag({ content: bundle.outputFiles[0].text });
tell({ news: { what: "ready", version: await browser.version() } });

const close = async () => {
  await browser.close();
  process.exit(0);
};
process.on("SIGTERM", close);
const orders = createInterface({ input: process.stdin });
orders.on("line", async (line) => {
  const { id, do: name, with: argument } = JSON.parse(line);
  try {
    tell({ id, result: (await page.evaluate((name, argument) => user[name](argument), name, argument)) ?? null });
  } catch (error) {
    tell({ id, error: String(error.stack ?? error) });
  }
});
orders.on("close", close);
