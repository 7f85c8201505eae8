-- wrk for `make bench-load`: a small POST, as every other generator sends it.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
