// A service that reports its version and ends when it is asked to.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	version := os.Getenv("APP_VERSION")
	answer := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-app-version", version)
		fmt.Fprintf(w, "go %s\n", version)
	}
	server := &http.Server{Addr: "0.0.0.0:8080", Handler: http.HandlerFunc(answer)}
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	idle := make(chan struct{})
	go func() {
		<-asked.Done()
		if err := server.Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
		close(idle)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-idle
}
