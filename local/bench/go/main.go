// The greeter's version 1 in Go, with the standard library alone: what `make bench` compares with. The same pages, the
// same headers, the same limits on the name; written as a Go developer would, html/template included.
package main

import (
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
)

// version is what a version of the app says and looks like: one page for all of them, as in the greeter.
type version struct {
	Number     string
	Salutation string
	Language   string
	Background string
	Icon       template.URL
	Style      template.CSS
}

// view is what the page shows.
type view struct {
	version
	Greeting string
}

const style = `html{height:100%;background:#14DB95}body{margin:0;min-height:100%;display:grid;place-items:center}` +
	`h1{box-sizing:border-box;max-width:100%;margin:0;padding:1.5rem;color:#fff;` +
	`font:700 clamp(2.5rem,11vmin,7.5rem)/1.15 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;` +
	`text-align:center;text-wrap:balance;overflow-wrap:anywhere;` +
	`text-shadow:0 0 .04em rgb(0 40 50/.45),0 .03em .2em rgb(0 40 50/.35)}`

const policy = "default-src 'none'; style-src 'sha256-cJdP57EaXumdOpbo6Pss0Rv8TnXs4rmtO3hgMbY+hHw='; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

var v1 = version{
	Number:     "1",
	Salutation: "Hello",
	Language:   "en",
	Background: "#14DB95",
	Icon: "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 2 2'%3E" +
		"%3Ccircle cx='1' cy='1' r='1' fill='%2314DB95'/%3E%3C/svg%3E",
	Style: style,
}

var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="{{.Language}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="theme-color" content="{{.Background}}">
<link rel="icon" href="{{.Icon}}">
<title>{{.Greeting}}</title>
<style>{{.Style}}</style>
</head>
<body>
<h1>{{.Greeting}}</h1>
</body>
</html>
`))

// greeting reads the name from the query: printable, at most 64 characters, never empty.
func greeting(r *http.Request) string {
	name := strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, r.URL.Query().Get("name")))
	if runes := []rune(name); len(runes) > 64 {
		name = string(runes[:64])
	}
	if name == "" {
		name = "World"
	}
	return fmt.Sprintf("%s %s!", v1.Salutation, name)
}

// withHeaders puts the headers on every answer.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-App-Version", v1.Number)
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, body)
}

func main() {
	pages := http.NewServeMux()
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
			text(w, "not found\n")
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := page.Execute(w, view{v1, greeting(r)}); err != nil {
			log.Print(err)
		}
	})
	pages.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) { text(w, greeting(r)) })
	pages.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { text(w, "ok") })
	server := &http.Server{
		Addr:              net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")),
		Handler:           withHeaders(pages),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    8 * 1024,
	}
	log.Fatal(server.ListenAndServe())
}
