// Pointing at the curve shows what was said there; the transcript and the curve follow each other.
function followDialogue(part) {
  const plot = part.querySelector(".course-box svg.plot");
  const list = part.querySelector(".talk");
  if (!plot || !list) return;
  const said = [...list.children];
  const [first, last] = [Number(plot.dataset.first), Number(plot.dataset.last)];
  const count = Number(part.dataset.count);
  const here = plot.querySelector(".here");
  const slider = plot.parentElement;
  let now = -1;
  let led = 0; // until when the transcript follows the curve, and not the other way round
  const place = (i) => (count > 1 ? first + ((last - first) * i) / (count - 1) : first);
  const mark = (i) => {
    if (i === now) return;
    if (said[now]) said[now].classList.remove("on");
    now = i;
    for (const side of ["x1", "x2"]) here.setAttribute(side, place(i));
    plot.classList.add("followed");
    slider.setAttribute("aria-valuenow", i + 1);
    if (said[i]) {
      said[i].classList.add("on");
      slider.setAttribute("aria-valuetext", said[i].innerText);
    }
  };
  const bring = (i) => {
    if (!said[i]) return;
    led = performance.now() + 400;
    if (list.scrollHeight > list.clientHeight + 1) list.scrollTop = said[i].offsetTop - list.clientHeight / 3;
    else said[i].scrollIntoView({ block: "center" });
  };
  const under = (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
    const i = count > 1 ? Math.round(((x - first) / (last - first)) * (count - 1)) : 0;
    return Math.min(Math.max(i, 0), count - 1);
  };
  const point = (event) => {
    const i = under(event);
    mark(i);
    if (said[i]) showTip(said[i].querySelector(".by").innerText.replace(/\n+/g, " · ") + "\n" + said[i].querySelector("p").innerText, event.clientX, event.clientY);
    return i;
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("click", (event) => { bring(point(event)); });
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (!step) return;
    event.preventDefault();
    mark(Math.min(Math.max(now + step, 0), count - 1));
    bring(now);
  });
  const follow = () => {
    if (performance.now() < led) return;
    const inside = list.scrollHeight > list.clientHeight + 1;
    if (!said[0].offsetParent && !inside) return;
    const line = inside ? list.getBoundingClientRect().top + list.clientHeight / 3 : innerHeight * 0.6;
    const i = said.findIndex((item) => item.getBoundingClientRect().bottom > line);
    if (i >= 0) mark(i);
  };
  list.addEventListener("scroll", follow, { passive: true });
  if (!matchMedia("(min-width: 62rem)").matches) addEventListener("scroll", () => {
    const box = list.getBoundingClientRect();
    if (box.top < innerHeight * 0.6 && box.bottom > 0 && box.height) follow();
  }, { passive: true });
}
document.querySelectorAll(".dialogue").forEach(followDialogue);
