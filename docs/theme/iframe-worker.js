// Where the pages are files of a folder, a browser starts no worker. The search of the theme runs in one, so here a
// hidden frame takes its place: the same messages in both directions, in the same order.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.heard = (event) => {
        if (event.source !== this.inside) return;
        const copy = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(copy);
        this.onmessage?.(copy);
      };
      window.addEventListener("message", this.heard);
      this.ready = new Promise((resolve) => this.frame.addEventListener("load", resolve));
      const page = this.inside.document;
      page.open();
      page.write(
        "<!doctype html><body><script>" +
          "postMessage = (data) => parent.postMessage(data, '*');" +
          "importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done) => {" +
          "const script = document.createElement('script'); script.src = url; script.onload = done;" +
          "document.body.append(script); })), Promise.resolve());" +
          "</scr" + "ipt><script src=\"" + encodeURI(String(url)).replaceAll("%25", "%") + "\"></scr" + "ipt></body>",
      );
      page.close();
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      window.removeEventListener("message", this.heard);
      this.frame.remove();
    }
  };
}
