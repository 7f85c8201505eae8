// The sign-in: the link's fragment, or what was typed, becomes a cookie.
import { post } from "./talk.js";

const error = document.getElementById("error");

async function enter(token) {
  error.hidden = true;
  try {
    const answer = await post("/api/enter", { token });
    location.replace(answer.page);
  } catch (refused) {
    error.textContent = refused.message;
    error.hidden = false;
    document.getElementById("token").focus();
  }
}

function fromLink() {
  const token = decodeURIComponent(location.hash.slice(1));
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  enter(token);
}

document.getElementById("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = document.getElementById("token").value.trim();
  enter(typed.slice(typed.lastIndexOf("#") + 1));
});
addEventListener("hashchange", fromLink);
fromLink();
