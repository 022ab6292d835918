// Browsers start no worker in a page opened from a file. There, the search's worker runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.ready = new Promise((loaded) => frame.addEventListener("load", () => loaded(frame.contentWindow)));
      frame.srcdoc = "<!doctype html>";
      document.body.append(frame);
      this.ready = this.ready.then((inside) => new Promise((loaded) => {
        // what the worker says goes to the page; in a frame it would go to itself
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const script = inside.document.createElement("script");
        script.addEventListener("load", () => loaded(inside));
        script.src = new URL(url, location.href);
        inside.document.head.append(script);
      }));
    }

    postMessage(data) {
      this.ready.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }
  };
}
