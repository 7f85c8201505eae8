// k6 for `make bench-load`: the same request as every other generator sends. Settings come from the environment.
import http from "k6/http";
import { Counter } from "k6/metrics";

const rate = Number(__ENV.RATE_RPS);
const scenario = rate
  ? { executor: "constant-arrival-rate", rate, timeUnit: "1s", preAllocatedVUs: Number(__ENV.USERS) }
  : { executor: "constant-vus", vus: Number(__ENV.USERS) };

export const options = {
  scenarios: { load: { ...scenario, duration: `${__ENV.LENGTH_S}s`, gracefulStop: "5s" } },
  summaryTrendStats: ["p(50)", "p(90)", "p(99)", "p(99.9)", "max"],
};

const late = new Counter("late");
const headers = { "Content-Type": "application/json" };

export default function () {
  const answer = __ENV.METHOD === "POST" ? http.post(__ENV.URL, __ENV.BODY, { headers }) : http.get(__ENV.URL);
  if (answer.timings.duration > 1000) late.add(1);
}

export function handleSummary(data) {
  return { stdout: JSON.stringify(data.metrics) };
}
