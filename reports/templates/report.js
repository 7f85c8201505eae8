"use strict";
(function () {
  var place = document.getElementById("figure");
  var figure = JSON.parse(document.getElementById("figure-data").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var printing = false;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Beside each other a chart's title and its legend need width; where there is little, the legend goes below the title.
  function narrow() { return !printing && place.clientWidth < 620; }

  // Plotly breaks a legend into lines; about what it takes for one entry: its line, and its letters at size 10.
  function lines(key, width) {
    var wanted = figure.data.filter(function (one) { return one.legend === key && one.showlegend !== false && one.name; })
      .reduce(function (sum, one) { return sum + 46 + 5.4 * one.name.length; }, 0);
    return wanted > width ? 2 : 1;
  }

  function heads() {
    var below = narrow(), told = {}, raised = {};
    var width = place._fullLayout._size.w;  // what is left for the charts beside their ticks
    Object.keys(figure.layout).forEach(function (key) {
      if (!/^legend\d*$/.test(key)) { return; }
      raised[figure.layout[key].y] = 19 * lines(key, width) - 2;
      told[key + ".x"] = below ? 0 : 1;
      told[key + ".xanchor"] = below ? "left" : "right";
      told[key + ".font.size"] = below ? 10 : 12;
    });
    (figure.layout.annotations || []).forEach(function (one, number) {
      if (one.xref !== "paper" || one.x !== 0 || one.yanchor !== "bottom" || !(one.y in raised)) { return; }
      told["annotations[" + number + "].yshift"] = below ? raised[one.y] : 0;
      told["annotations[" + number + "].xshift"] = below ? -56 : 0;
      told["annotations[" + number + "].font.size"] = below ? 11 : 13;
    });
    return told;
  }

  function look() {
    var ink = printing ? "#111418" : colour("--ink");
    var line = printing ? "#d5dae0" : colour("--line");
    var told = { "modebar.color": colour("--dim"), "modebar.activecolor": colour("--link"), "font.color": ink, "font.family": colour("--font"), "font.size": 12,
      "hoverlabel.bgcolor": colour("--card"), "hoverlabel.bordercolor": line, "hoverlabel.font.color": colour("--ink") };
    Object.keys(figure.layout).forEach(function (key) {
      if (!/^[xy]axis\d*$/.test(key)) { return; }
      told[key + ".gridcolor"] = line;
      told[key + ".linecolor"] = line;
      told[key + ".tickfont.color"] = ink;
      told[key + ".spikecolor"] = printing ? line : colour("--dim");
    });
    return Object.assign(told, heads());
  }

  function zoom(start, end) {
    return Plotly.relayout(place, { "xaxis.range": [start, end] });
  }

  function mark(range) {
    document.querySelectorAll(".spans button").forEach(function (button) {
      var same = Math.abs(button.dataset.start - range[0]) < 0.01 && Math.abs(button.dataset.end - range[1]) < 0.01;
      button.setAttribute("aria-pressed", String(same));
    });
  }

  var whole = figure.layout.xaxis.range.slice();
  var options = { responsive: true, displaylogo: false, doubleClick: false, scrollZoom: false,
    modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d"]],
    toImageButtonOptions: { filename: "gameday" } };
  Plotly.newPlot(place, figure.data, figure.layout, options).then(function () {
    place.on("plotly_relayout", function () { mark(place.layout.xaxis.range); });
    place.on("plotly_doubleclick", function () { zoom(whole[0], whole[1]); });
    mark(whole);
    return Plotly.relayout(place, look());
  }).then(function () { place.dataset.ready = "true"; });

  document.querySelectorAll(".spans button").forEach(function (button) {
    button.addEventListener("click", function () { zoom(Number(button.dataset.start), Number(button.dataset.end)); });
  });
  dark.addEventListener("change", function () { Plotly.relayout(place, look()); });
  var was = narrow();
  window.addEventListener("resize", function () {
    if (narrow() || was) { Plotly.Plots.resize(place).then(function () { return Plotly.relayout(place, heads()); }); }
    was = narrow();
  });

  var closed = [];
  window.addEventListener("beforeprint", function () {
    printing = true;
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    closed.forEach(function (one) { one.open = true; });
    Plotly.relayout(place, Object.assign(look(), { width: 700, autosize: false }));
  });
  window.addEventListener("afterprint", function () {
    printing = false;
    closed.forEach(function (one) { one.open = false; });
    Plotly.relayout(place, Object.assign(look(), { width: null, autosize: true }));
  });
})();
