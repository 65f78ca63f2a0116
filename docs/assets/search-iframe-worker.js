// Search on pages that are opened as files. Browsers start no workers there, so the search script runs in a hidden
// frame instead. The theme expects the class under the name IFrameWorker, and the script's own <script src> element in
// the frame's document.

function load(page, address) {
  return new Promise((resolve, reject) => {
    const script = page.createElement("script");
    script.src = address;
    script.onload = () => resolve();
    script.onerror = () => reject(new Error(`${address} cannot be loaded`));
    page.head.append(script);
  });
}

class IFrameWorker extends EventTarget {
  constructor(address) {
    super();
    this.onmessage = null;
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = (data) => this.answer(data);
    inside.importScripts = (...addresses) =>
      addresses.reduce((previous, next) => previous.then(() => load(inside.document, next)), Promise.resolve());
    this.ready = load(inside.document, new URL(address, location.href).href);
  }

  // From the page to the script.
  postMessage(data) {
    const inside = this.frame.contentWindow;
    this.ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
  }

  // From the script to the page.
  answer(data) {
    setTimeout(() => {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    });
  }

  terminate() {
    this.frame.remove();
  }
}

window.IFrameWorker = IFrameWorker;
if (location.protocol === "file:") window.Worker = IFrameWorker;
