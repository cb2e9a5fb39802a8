// The front end of Trace.widget(): a frame with the viewer's page. Passes the page's requests to Python, and the state both ways.
// docs/viewer-api.md, "A page in a frame", describes the messages.

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2); // several cells may show the same widget
  const frame = document.createElement("iframe");
  frame.style.cssText = "border:0; width:100%; display:block";
  frame.allow = "clipboard-write; fullscreen";
  frame.title = "clearhead";
  let shown = model.get("state"); // of this page

  const tell = (message, transfer = []) => frame.contentWindow?.postMessage({ clearhead: message }, "*", transfer);
  const onPage = ({ source, data }) => {
    if (source !== frame.contentWindow || !data?.clearhead) return;
    const { request, state } = data.clearhead;
    if (request) model.send({ ...request, number: `${view}-${request.number}` });
    if (state === undefined) return;
    shown = frame.name = state; // a frame that the notebook moves loads its page again, with its name as the state
    model.set("state", state);
    model.save_changes();
  };
  const onPython = (message, buffers) => {
    const [from, number] = message.number.split("-");
    if (from !== view) return;
    const { buffer, byteOffset, byteLength } = buffers[0];
    const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
    tell({ answer: { ...message, number: Number(number), bytes } }, [bytes]);
  };
  const onState = () => {
    if (model.get("state") === shown) return; // the page's own state; returned late, it would undo what the page has done since
    shown = frame.name = model.get("state");
    tell({ state: shown });
  };
  const onHeight = () => (frame.style.height = `${model.get("height")}px`);

  window.addEventListener("message", onPage);
  model.on("msg:custom", onPython);
  model.on("change:state", onState);
  model.on("change:height", onHeight);
  onHeight();
  frame.name = model.get("state"); // the page opens with it
  frame.srcdoc = model.get("_page");
  el.append(frame);
  return () => {
    window.removeEventListener("message", onPage);
    model.off("msg:custom", onPython);
    model.off("change:state", onState);
    model.off("change:height", onHeight);
  };
}

export default { render };
