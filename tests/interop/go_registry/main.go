// SPDX-License-Identifier: Apache-2.0
// A registry with the referrers API of the OCI distribution specification 1.1: go-containerregistry's, with TLS and a
// password.
// Usage: go_registry CERTIFICATE KEY USER PASSWORD; prints its address, and ends with its standard input.
package main

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	certificate, key, user, password := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	inner := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	guarded := http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		givenUser, givenPassword, given := request.BasicAuth()
		same := subtle.ConstantTimeCompare([]byte(givenUser+":"+givenPassword), []byte(user+":"+password)) == 1
		if !given || !same {
			answer.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			answer.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(answer, request)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.ServeTLS(listener, guarded, certificate, key))
}
