module bench/greeter

go 1.19
