"use strict";
(function () {
  var figures = JSON.parse(document.getElementById("figure-data").textContent);
  var places = Array.from(document.querySelectorAll(".figure"));
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function look(layout) {
    var told = { "font.color": colour("--ink"), "font.family": colour("--font"), "font.size": 12,
      "hoverlabel.bgcolor": colour("--card"), "hoverlabel.bordercolor": colour("--line"), "hoverlabel.font.color": colour("--ink") };
    Object.keys(layout).forEach(function (key) {
      if (!/^[xy]axis\d*$/.test(key)) { return; }
      told[key + ".gridcolor"] = colour("--line");
      told[key + ".linecolor"] = colour("--line");
      told[key + ".tickfont.color"] = colour("--ink");
    });
    return told;
  }

  places.forEach(function (place) {
    var figure = figures[Number(place.dataset.number)];
    Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false }).then(function () {
      return Plotly.relayout(place, look(figure.layout));
    }).then(function () { place.dataset.ready = "true"; });
    dark.addEventListener("change", function () { Plotly.relayout(place, look(figure.layout)); });
  });
})();
