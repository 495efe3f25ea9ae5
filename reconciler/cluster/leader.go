package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Times of the Lease. The first two are in the proportion that keeps a clock
// that runs up to half as fast again from making two leaders (P2).
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// ErrLeaseLost means that another process may lead by now. The process that
// gets it must end: there is no fence against its writes but its end (P1).
var ErrLeaseLost = errors.New("the Lease was lost: another replica may be working")

// Lease names the lock by which one of several replicas leads.
type Lease struct {
	Namespace string
	Name      string
	// Identity of this process, unlike that of any other.
	Identity string
}

// Lead waits for the Lease and then calls work. When ctx ends, work is told
// to stop, and only after it has returned is the Lease given away: the next
// leader must not meet the last one at work (P3). It returns ErrLeaseLost
// when the Lease went without that.
func Lead(ctx context.Context, config *rest.Config, lease Lease, work func(context.Context) error) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client of the Kubernetes API: %w", err)
	}
	election, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var leading atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		if !leading.Load() {
			release()
		}
	})
	defer stop()
	var result error
	ended := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: lease.Identity},
		},
		Name: lease.Name, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leading.Store(true)
				working, cancel := context.WithCancel(held)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				result = work(working)
				if held.Err() != nil {
					// It ended because the Lease went, whatever it says of it.
					result = ErrLeaseLost
				}
				close(ended)
				release()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(election)
	select {
	case <-ended:
		return result
	default:
		if ctx.Err() != nil && !leading.Load() {
			return nil
		}
		return ErrLeaseLost
	}
}
